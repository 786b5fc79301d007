// Package realtest tests the built program from outside, as a process of its own:
// its signals, descriptors, memory and log, what it carries under load and through
// faults, and that real programs (ssh, squid, curl, browsers, …) get through it.
// It has no code but its tests.
package realtest
