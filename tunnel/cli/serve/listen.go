package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"culvert/tunnel/cli/args"
	"culvert/tunnel/cli/exit"
	"culvert/tunnel/listen"
	"culvert/tunnel/proxy"
)

// ListenSpecs returns where the flags say to listen.
func ListenSpecs(flags *args.Values) ([]listen.Spec, error) {
	urls := flags.Strings("listen")
	if len(urls) == 0 {
		urls = []string{listen.Default}
	}
	specs := make([]listen.Spec, len(urls))
	for i, url := range urls {
		var err error
		if specs[i], err = listen.Parse(url); err != nil {
			return nil, flags.Mistake("listen", fmt.Errorf("%q: %w", url, err), "as in --listen 127.0.0.1:3128, --listen '[::1]:3128' or --listen unix:/run/culvert.sock")
		}
	}
	return specs, nil
}

// Bind binds all listeners before any of them accepts, and refuses one that would be
// an open proxy by accident. secure is what https listeners have in common. The Server
// that serves the listeners closes them; after an error none is open. An address that
// this machine does not have yet is bound all the same where the system can do that, with
// a note for a person.
func Bind(ctx context.Context, flags *args.Values, server *proxy.Server, specs []listen.Spec, secure *listen.TLS) (listeners []net.Listener, notes []string, err error) {
	defer func() {
		if err != nil {
			for _, l := range listeners {
				l.Close()
			}
		}
	}()
	for _, spec := range specs {
		l, err := spec.Listen(ctx)
		if errors.Is(err, syscall.EADDRNOTAVAIL) {
			if early, failed := spec.ListenEarly(ctx); failed == nil {
				l, err = early, nil
				notes = append(notes, fmt.Sprintf("%s is not an address of this machine yet: clients are accepted there as soon as it is", spec.Host()))
			}
		}
		if err != nil {
			return listeners, nil, &exit.Error{Err: err, Hint: listen.Hint(err)}
		}
		if spec.TLS {
			l = secure.Listen(l)
		}
		listeners = append(listeners, l)
		if err := server.CheckExposure(l); err != nil && !flags.Bool("open") {
			return listeners, nil, args.Usagef("want passwords with --users FILE, or client certificates with --tls-client-ca FILE, "+
				"or name the clients with --allow-client CIDR, or listen on 127.0.0.1; --open says that it is meant", "%v", err)
		}
	}
	return listeners, notes, nil
}

// Announce says where the proxy listens, and which clients may reach which targets.
// say writes a line for a person.
func Announce(server *proxy.Server, listeners []net.Listener, say func(format string, a ...any)) {
	var summaries []string
	urls := map[string][]string{}
	for _, l := range listeners {
		summary := strings.Join(server.Summary(l), "\n") // also settles the limits, which must precede "listening"
		say("listening on %s", listen.URL(l))
		if urls[summary] == nil {
			summaries = append(summaries, summary)
		}
		urls[summary] = append(urls[summary], listen.URL(l))
	}
	for _, summary := range summaries {
		if len(summaries) > 1 {
			say("on %s:", strings.Join(urls[summary], ", "))
		}
		for _, words := range strings.Split(summary, "\n") {
			say("%s", words)
		}
	}
}
