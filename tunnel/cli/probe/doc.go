// Package probe is probe's part of the command line: its own flags; the Prober that they
// set up; the forms of a report, and --save; and what probe does besides a single
// exchange: --audit, --list, --ports, --reach, --compare and --count, with their
// progress on a terminal.
//
// It promises to send nothing to a proxy before all flags have been checked, and to
// write results to the writer that it is given and progress to a terminal only. A
// mistake in a flag is an *args.Error.
//
// It never imports urfave/cli nor fatih/color, nor the packages of serve and dial.
package probe
