package tunnel

import "testing"

func mustPattern(t testing.TB, s string) Pattern {
	t.Helper()
	p, err := ParsePattern(s)
	if err != nil {
		t.Fatalf("ParsePattern(%q): %v", s, err)
	}
	return p
}

func mustAddrRule(t testing.TB, s string) AddrRule {
	t.Helper()
	r, err := ParseAddrRule(s)
	if err != nil {
		t.Fatalf("ParseAddrRule(%q): %v", s, err)
	}
	return r
}
