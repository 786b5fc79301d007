// Package serve is serve's part of the command line: its own flags, and what they set
// up: a proxy.Server, its listeners, their TLS, and its logs.
//
// It promises to read flags, and the files that they name, before Bind opens the
// first listener; no client is accepted here. It writes to a person by the function
// that it is given. A mistake in a flag is an *args.Error.
//
// It never imports urfave/cli nor fatih/color, nor the packages of dial and probe.
package serve
