// Package pac asks a proxy auto-config script (a PAC file) for the way to a target: for
// the routes of a client.Client, in the order in which they are to be tried. A Loader
// reads a script from a file or a URL, a Discovery finds it by its well-known name, and
// Script.Find runs it in a JavaScript engine.
//
// There is no standard. The package follows Netscape's paper of 1996 as Firefox and
// Chromium implement it, and for the functions with Ex in their names Microsoft's
// documents. Where those differ, the doc comments say what this package does.
//
// # The URL for a script
//
// The target of a tunnel is a host and a port without a scheme or a path. A script is
// asked about https://HOST:PORT/, as browsers ask about a page without its path, and
// without the port if it is 443: scripts compare such URLs with patterns like
// https://example.com/*. HOST is in lower case and has no root dot. An IPv6 literal is
// in brackets within the URL and without brackets as the second argument.
//
// # Trust
//
// A script is foreign code. It can call nothing but the functions in prelude.go, and has
// 32 MiB of memory, a limited stack and a time limit. It learns the targets that it is
// asked about, and can pass them on to a name server by the names that it looks up.
//
// The engine costs a program about 0.3 ms at every start, and 4 MB; the build tag
// culvert_no_pac leaves it out. The package imports nothing of this module but packages
// tunnel, dialer and internal/wire.
package pac
