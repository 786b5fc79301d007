package policy

import (
	"fmt"
	"net/netip"
	"testing"

	"culvert/tunnel"
	"culvert/tunnel/internal/testkit"
)

// Each of these tests is for a bug that another proxy had.

func TestBugSpellingSlipsPastTheDenyList(t *testing.T) {
	for bug, spelling := range map[string]string{
		"brackets around a name":    "[denied.example]:443",
		"trailing root dot":         "denied.example.:443",
		"two root dots":             "denied.example..:443",
		"case":                      "DENIED.Example:443",
		"userinfo":                  "x@denied.example:443",
		"percent encoding":          "%64enied.example:443",
		"space":                     " denied.example:443",
		"brackets around IPv4":      "[10.0.0.1]:443",
		"root dot behind IPv4":      "10.0.0.1.:443",
		"IPv4 in mapped IPv6":       "[::ffff:10.0.0.1]:443",
		"IPv4 in mapped IPv6, hex":  "[::ffff:a00:1]:443",
		"IPv4 in long mapped IPv6":  "[0:0:0:0:0:FFFF:10.0.0.1]:443",
		"IPv6 written out":          "[2001:0db8:0000:0:0:0:0:1]:443",
		"a zone behind IPv6":        "[2001:db8::1%1]:443",
		"port with leading zeros":   "open.example:0025",
		"port beyond 32 bits":       "open.example:4294967739",
		"port beyond 16 bits":       "open.example:65979",
		"port with a sign":          "open.example:+443",
		"target without port":       "open.example",
		"deny below the wildcard":   "a.b.sub.example:443",
		"CIDR by its NAT64 address": "[64:ff9b::a00:1]:443",
	} {
		p := testPolicy(t, "*", "denied.example *.sub.example 10.0.0.0/8 2001:db8::/32", "", "")
		if a, err := tunnel.ParseAuthority(spelling); err == nil && p.JudgeTarget(a).Allowed {
			t.Errorf("%s: %q is allowed as %v", bug, spelling, a)
		}
	}
}

func TestBugDecimalOctalHexAndShortIPv4(t *testing.T) {
	p := testPolicy(t, "*", "", "", "")
	for _, host := range testkit.LenientIPv4 {
		if a, err := tunnel.ParseAuthority(host + ":80"); err == nil && p.JudgeTarget(a).Allowed {
			t.Errorf("%q is allowed as %v", host, a)
		}
	}
}

func TestBugSuffixMatchesWithinALabel(t *testing.T) {
	for _, allow := range []string{"trusted.net", "*.trusted.net", ".trusted.net"} {
		p := testPolicy(t, allow, "", "", "")
		for _, target := range []string{"untrusted.net:443", "trusted.net.evil.example:443", "xtrusted.net:443"} {
			if d := p.JudgeTarget(testkit.MustAuthority(t, target)); d.Allowed {
				t.Errorf("allow %s: %s is allowed: %+v", allow, target, d)
			}
		}
	}
}

func TestBugMissingFromThePrivateList(t *testing.T) {
	p := testPolicy(t, "", "", "", "")
	for _, s := range []string{
		"fc00::1", "fd00::1", "100.64.0.1", "100.127.255.254", "64:ff9b::10.0.0.1", "64:ff9b::127.0.0.1", "fd00:ec2::254", "168.63.129.16",
		"0.0.0.0", "::", "::ffff:127.0.0.1", "::127.0.0.1", "2002:7f00:1::", "2002:a9fe:a9fe::", "100.100.100.200", "fec0::1", "192.0.0.1", "198.18.0.1",
	} {
		if d := p.JudgeAddr(netip.AddrPortFrom(netip.MustParseAddr(s), 443)); d.Allowed {
			t.Errorf("%s is allowed: %+v", s, d)
		}
	}
}

func TestBugDenyByAddressForgottenAfterDNS(t *testing.T) {
	p := testPolicy(t, "", "8.8.8.0/24", "", "")
	if d := p.JudgeTarget(testkit.MustAuthority(t, "dns.example:443")); !d.Allowed {
		t.Errorf("the name: %+v", d)
	}
	if d := p.JudgeAddr(netip.MustParseAddrPort("8.8.8.8:443")); d.Allowed || d.Rule != "deny 8.8.8.0/24" {
		t.Errorf("where it leads: %+v", d)
	}
}

// The index must agree with the patterns one by one.
func TestIndexAgreesWithMatch(t *testing.T) {
	var list []Pattern
	for _, s := range []string{
		"a.example:22", ".example:80", "*.example", "a.example", "b.a.example:*", "*.a.example:8000-8999", "192.0.2.1:80", "192.0.2.0/24",
		"192.0.0.0/16:*", "2001:db8::1", "[2001:db8::/32]:22", "::/0", "*:443", "0.0.0.0/0:25", "com", ".com:22",
	} {
		list = append(list, parsedPattern(t, s))
	}
	hosts := []string{"a.example", "example", "b.a.example", "c.b.a.example", "xa.example", "com", "x.com", "net",
		"192.0.2.1", "192.0.2.2", "192.0.3.1", "198.51.100.1", "[2001:db8::1]", "[2001:db8::2]", "[2001:db9::1]", "[::ffff:192.0.2.1]"}
	for from := range list {
		index := indexPatterns(list[from:], defaultPorts, "", "")
		for _, host := range hosts {
			for _, port := range []int{22, 25, 80, 443, 8080} {
				a := testkit.MustAuthority(t, fmt.Sprintf("%s:%d", host, port))
				want := -1
				for i, p := range list[from:] {
					if p.match(a, defaultPorts) {
						want = i
						break
					}
				}
				if got, _ := index.find(a.Host(), a.Addr().Unmap(), a.Port()); got != want {
					t.Errorf("%v from %d on: the index finds %d, the patterns %d", a, from, got, want)
				}
			}
		}
	}
}

func BenchmarkJudge(b *testing.B) {
	names := make([]Pattern, 10000)
	for i := range names {
		names[i] = parsedPattern(b, fmt.Sprintf(".host%d.example", i))
	}
	nets := make([]AddrRule, 10000)
	for i := range nets {
		nets[i] = parsedAddrRule(b, fmt.Sprintf("203.%d.%d.0/24", i/256, i%256))
	}
	for name, p := range map[string]*Policy{
		"default": {},
		"large":   {Deny: names, DenyAddr: nets},
	} {
		target := testkit.MustAuthority(b, "www.some.where.example.com:443")
		addr := netip.MustParseAddrPort("8.8.8.8:443")
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !p.JudgeTarget(target).Allowed || !p.JudgeAddr(addr).Allowed {
					b.Fatal("denied")
				}
			}
		})
	}
}

func TestJudgeAllocatesNothingWhenAllowed(t *testing.T) {
	p := testPolicy(t, "", ".corp 10.0.0.0/8", "", "203.0.113.0/24")
	target, literal, addr := testkit.MustAuthority(t, "www.example.com:443"), testkit.MustAuthority(t, "8.8.8.8:443"), netip.MustParseAddrPort("8.8.8.8:443")
	n := testing.AllocsPerRun(100, func() {
		if !p.JudgeTarget(target).Allowed || !p.JudgeTarget(literal).Allowed || !p.JudgeAddr(addr).Allowed {
			t.Error("denied")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
