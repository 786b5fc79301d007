package tunnel

import (
	"strings"
	"testing"
)

func mustAuthority(t testing.TB, s string) Authority {
	t.Helper()
	a, err := ParseAuthority(s)
	if err != nil {
		t.Fatalf("ParseAuthority(%q): %v", s, err)
	}
	return a
}

// mustRoute is a route of proxies at these addresses.
func mustRoute(tb testing.TB, proxies ...string) Route {
	tb.Helper()
	r, err := ParseRoute(strings.Join(proxies, ","))
	if err != nil {
		tb.Fatal(err)
	}
	return r
}
