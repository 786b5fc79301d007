// Package dial is dial's part of the command line: its own flags and arguments, and
// what it does by --exec, --fdpass, --listen, --print-ssh-config, --stats and --why.
//
// It promises to connect to nothing before all flags have been checked. A mistake
// in a flag is an *args.Error; an error that ends the program in another way is an
// *exit.Error.
//
// It never imports urfave/cli nor fatih/color, nor the packages of serve and probe.
package dial
