package client

import (
	"slices"
	"strings"
	"testing"

	"culvert/tunnel/internal/wire"
)

func TestChallengeSchemes(t *testing.T) {
	for _, tt := range []struct {
		name   string
		values []string
		want   []string
	}{
		{"one", []string{`Basic realm="x"`}, []string{"Basic"}},
		{"a field each", []string{"Negotiate", "NTLM", `Basic realm="x"`}, []string{"Negotiate", "NTLM", "Basic"}},
		{"in one field", []string{`Digest realm="a, b", nonce="c", qop="auth", Basic realm="x", charset="UTF-8"`}, []string{"Digest", "Basic"}},
		{"spaces around =", []string{`Digest realm = "x" , nonce = "y", NTLM`}, []string{"Digest", "NTLM"}},
		{"escaped quote", []string{`Basic realm="a\", Fake b", NTLM`}, []string{"Basic", "NTLM"}},
		{"quote without end", []string{`Basic realm="a, NTLM`}, []string{"Basic"}},
		{"token68", []string{"Negotiate YII==, NTLM TlRM="}, []string{"Negotiate", "NTLM"}},
		{"tab", []string{"Basic\trealm=x"}, []string{"Basic"}},
		{"once each", []string{"Basic realm=a", "basic realm=b"}, []string{"Basic"}},
		{"no tokens", []string{"\x1b[31m x", "(", "", ", ,", strings.Repeat("a", 1000)}, nil},
		{"none", nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := schemesOf(parseChallenges(tt.values)); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// For all that a proxy may send as challenges, there are few schemes, and each is a
// token.
func FuzzChallengeSchemes(f *testing.F) {
	f.Add(`Digest realm="a, b", nonce="c", Basic realm=x`)
	f.Add(`Negotiate YII==, "\",,`)
	f.Fuzz(func(t *testing.T, value string) {
		schemes := schemesOf(parseChallenges([]string{value, value}))
		if len(schemes) > maxSchemes {
			t.Errorf("%d schemes", len(schemes))
		}
		for i, s := range schemes {
			same := func(other string) bool { return strings.EqualFold(s, other) }
			if !wire.IsToken(s) || len(s) > maxSchemeLength || slices.IndexFunc(schemes, same) != i {
				t.Errorf("scheme %q among %q", s, schemes)
			}
		}
	})
}
