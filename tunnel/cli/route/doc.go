// Package route is the part of the command line that dial and probe share: the flags
// that say by which route to reach a target, and with which credentials; the
// client.Client that they set up; and what -v says about it.
//
// It promises to connect to no proxy and no target: it reads files, runs the programs
// that the flags name, asks a person, and fetches a proxy auto-config script. A mistake
// in a flag is an *args.Error.
//
// It never imports urfave/cli nor fatih/color, nor the packages of serve, dial and
// probe.
package route
