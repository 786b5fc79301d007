package proxytest

import (
	"testing"

	"culvert/tunnel/policy"
)

// MustPattern parses a policy pattern.
func MustPattern(t testing.TB, s string) policy.Pattern {
	t.Helper()
	p, err := policy.ParsePattern(s)
	if err != nil {
		t.Fatalf("ParsePattern(%q): %v", s, err)
	}
	return p
}

// MustAddrRule parses an address rule.
func MustAddrRule(t testing.TB, s string) policy.AddrRule {
	t.Helper()
	r, err := policy.ParseAddrRule(s)
	if err != nil {
		t.Fatalf("ParseAddrRule(%q): %v", s, err)
	}
	return r
}
