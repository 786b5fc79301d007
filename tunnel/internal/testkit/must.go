package testkit

import (
	"strings"
	"testing"

	"culvert/tunnel"
)

// MustAuthority parses an authority.
func MustAuthority(t testing.TB, s string) tunnel.Authority {
	t.Helper()
	a, err := tunnel.ParseAuthority(s)
	if err != nil {
		t.Fatalf("ParseAuthority(%q): %v", s, err)
	}
	return a
}

// MustRoute parses a route through proxies.
func MustRoute(tb testing.TB, proxies ...string) tunnel.Route {
	tb.Helper()
	r, err := tunnel.ParseRoute(strings.Join(proxies, ","))
	if err != nil {
		tb.Fatal(err)
	}
	return r
}
