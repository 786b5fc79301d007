package main

import (
	"os"
	"os/signal"
	"syscall"

	"culvert/tunnel"
)

// dieOnSignal makes a signal end the program silently with 128+n. Signals
// that were ignored from the start, as by nohup, stay ignored.
func dieOnSignal() {
	signals := make(chan os.Signal, 1)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	go func() {
		if s, ok := (<-signals).(syscall.Signal); ok {
			os.Exit(128 + int(s))
		}
	}()
}

// dieAbandoned ends the program, as SIGPIPE would, when whoever started it is
// gone while the tunnel is being opened, until stop: an ssh that was killed sends
// no signal, and a proxy may be silent for long. With --fdpass stdin means
// nothing.
func dieAbandoned(fdpass bool) (stop func()) {
	in := os.Stdin
	if fdpass {
		in = nil
	}
	return tunnel.WhenAbandoned(in, os.Stdout, func() { os.Exit(128 + int(syscall.SIGPIPE)) })
}
