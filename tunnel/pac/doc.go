// Package pac asks a proxy auto-config script, which browsers call a PAC file,
// for the way to a target: routes for a tunnel.Client, in the order in which
// they are to be tried.
//
//	load.go             a script from a file or a URL
//	wpad.go             or found by its well-known name; domains.go: where
//	script.go           the script is asked, and its Answer
//	engine_quickjs.go   by a JavaScript engine, within bounds; engine_none.go:
//	                    where there is none for the system
//	prelude.go          the functions that scripts may call, as they see them
//	helpers*.go         the same, in Go; run.go: what they look at
//	list.go             the answer's text to routes
//	error.go            every failure
//
// There is no standard. What counts is Netscape's paper of 1996 and what
// Firefox and Chromium make of it, for the functions with Ex in their names
// Microsoft's documents; where those differ, the doc comments say what is done
// here.
//
// # What a script is told
//
// The target of a tunnel is a host and a port without a scheme or a path. A
// script is asked about https://HOST:PORT/, as browsers do for a page whose
// path they keep to themselves, and as they do, without the port if it is 443:
// scripts compare such URLs with patterns like https://example.com/*. HOST is
// lower case, without a root dot, an IPv6 literal in brackets within the URL
// and without as the second argument.
//
// # Trust
//
// A script is foreign code. It reaches nothing but the functions of prelude.go,
// has 32 MiB of memory, a bounded stack and a time limit. It learns the targets
// that it is asked about, and can tell a name server by the names it looks up.
//
// The package is a leaf: what it links costs a program about 0.3 ms of CPU at
// every start, and 4 MB. The build tag culvert_no_pac leaves the engine out.
package pac
