package probe

import (
	"testing"

	"culvert/tunnel"
	"culvert/tunnel/internal/wire"
)

func TestCheckProxyStatusAccepts(t *testing.T) {
	for _, value := range []string{
		"proxy",
		`"proxy.example.com"`,
		"proxy; error=dns_error; rcode=\"NXDOMAIN\"",
		`r34.example.net; error=http_request_error, ExampleCDN; received-status=502`,
		`a;error=connection_refused;details="port 22 is \"closed\", they say; really"`,
		"a; next-hop=b.example, c; next-hop=\"[2001:db8::1]:80\"",
		"a; next-protocol=h2; x; y=?0; z=:aGk=:; w=-1.5",
		"*a:b/c;error=dns_timeout",
	} {
		if err := CheckProxyStatus([]string{value}); err != nil {
			t.Errorf("%s: %v", value, err)
		}
	}
	if err := CheckProxyStatus([]string{"a; error=dns_error", "b"}); err != nil {
		t.Errorf("two field lines: %v", err)
	}
}

func TestCheckProxyStatusRefuses(t *testing.T) {
	for _, value := range []string{
		"",
		",",
		"a,",
		"a b",
		"a ;error=dns_error",
		"a; Error=dns_error",
		"a; error=\"dns_error\"",
		"a; error=",
		"a; error",
		"a; =b",
		"a; details=plain",
		"a; details=\"no end",
		"a; details=\"bad \\escape\"",
		"a; details=\"caf\xe9\"",
		"a; received-status=\"502\"",
		"a; x=?2",
		"a; x=:no end",
		"a;; b",
		"502; error=dns_error",
		"(a b); error=dns_error",
		"a error=dns_error",
		"https proxy: failed",
	} {
		if err := CheckProxyStatus([]string{value}); err == nil {
			t.Errorf("%q passed", value)
		}
	}
}

// What culvert itself writes is always valid.
func FuzzCheckProxyStatus(f *testing.F) {
	f.Add("proxy", "dns_error", "NXDOMAIN", "no such name")
	f.Add("my proxy", "x", "\"", "\\ \xe9 \x00")
	f.Fuzz(func(t *testing.T, name, token, rcode, details string) {
		if name == "" || !wire.IsSFToken(token) {
			return
		}
		written := tunnel.ProxyStatus{Name: name, Error: token, RCode: rcode, Details: details}.String()
		if err := CheckProxyStatus([]string{written}); err != nil {
			t.Errorf("%s: %v", written, err)
		}
		CheckProxyStatus([]string{name, details}) // must end, whatever they are
	})
}
