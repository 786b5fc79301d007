package tunnel

import (
	"slices"
	"strings"
	"testing"

	"culvert/tunnel/internal/wire"
)

func TestParseProxyStatus(t *testing.T) {
	for _, tt := range []struct {
		name   string
		values []string
		want   []ProxyStatus
	}{
		{"one", []string{`proxy.corp; error=dns_error; rcode="NXDOMAIN"; details="no such host"`},
			[]ProxyStatus{{Name: "proxy.corp", Error: "dns_error", RCode: "NXDOMAIN", Details: "no such host"}}},
		{"several in order", []string{`a; error=connection_refused, "b c";next-hop="10.0.0.1:80"`, `d`},
			[]ProxyStatus{{Name: "a", Error: "connection_refused"}, {Name: "b c", NextHop: "10.0.0.1:80"}, {Name: "d"}}},
		{"separators in strings", []string{`a; details="x; y, \"z\" \\"`}, []ProxyStatus{{Name: "a", Details: `x; y, "z" \`}}},
		{"unknown parameters", []string{`a; received-status=502; x; error=dns_timeout`}, []ProxyStatus{{Name: "a", Error: "dns_timeout"}}},
		{"string without end", []string{`a; details="x, y`}, []ProxyStatus{{Name: "a", Details: "x, y"}}},
		{"nothing", []string{"", ",", ";", `""`}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := ParseProxyStatus(tt.values); !slices.Equal(got, tt.want) {
				t.Errorf("got %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestFirstProxyStatusError(t *testing.T) {
	members := ParseProxyStatus([]string{"a, b; error=dns_error", "c; error=dns_timeout"})
	if p, ok := FirstProxyStatusError(members); !ok || p.Name != "b" {
		t.Errorf("got %+v, %t; want b's", p, ok)
	}
	if p, ok := FirstProxyStatusError(members[:1]); ok {
		t.Errorf("got %+v, want none", p)
	}
}

func TestProxyStatusString(t *testing.T) {
	for _, tt := range []struct {
		status ProxyStatus
		want   string
	}{
		{ProxyStatus{Name: "culvert-1"}, "culvert-1"},
		{ProxyStatus{Name: "1 a", Error: "dns_error"}, `"1 a"; error=dns_error`},
		{ProxyStatus{Name: "a", Error: "dns_error", RCode: "NXDOMAIN", Details: "x\"\\\r\né"}, `a; error=dns_error; rcode="NXDOMAIN"; details="x\"\\????"`},
		{ProxyStatus{}, `""`},
	} {
		if got := tt.status.String(); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

// A member that String wrote is parsed as the same member, and the number of members
// is limited, whatever a proxy sends.
func FuzzProxyStatus(f *testing.F) {
	f.Add(`a; error=dns_error; details="x", b`)
	f.Add(`"\"; error=x`)
	f.Fuzz(func(t *testing.T, value string) {
		members := ParseProxyStatus([]string{value, value})
		if len(members) > maxProxyStatus {
			t.Fatalf("%d members", len(members))
		}
		for _, p := range members {
			// A string can hold printable ASCII only, and an error is a token.
			p.NextHop = ""
			p.Name, p.Details, p.RCode = printable(p.Name), printable(p.Details), printable(p.RCode)
			if p.Name == "" || p.Error != "" && !wire.IsSFToken(p.Error) {
				continue
			}
			again := ParseProxyStatus([]string{p.String()})
			if len(again) != 1 || again[0] != p {
				t.Errorf("%s was read as %+v, want %+v", p, again, p)
			}
		}
	})
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
}
