package policy

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"culvert/tunnel"
	"culvert/tunnel/internal/testkit"
)

// testPolicy makes a Policy of lists separated by spaces; "" leaves a list nil. Only
// loopback addresses are this host's own.
func testPolicy(t testing.TB, allow, deny, allowAddr, denyAddr string) *Policy {
	t.Helper()
	p := &Policy{IsOwn: func(netip.Addr) bool { return false }}
	for _, s := range strings.Fields(allow) {
		p.Allow = append(p.Allow, parsedPattern(t, s))
	}
	for _, s := range strings.Fields(deny) {
		p.Deny = append(p.Deny, parsedPattern(t, s))
	}
	for _, s := range strings.Fields(allowAddr) {
		p.AllowAddr = append(p.AllowAddr, parsedAddrRule(t, s))
	}
	for _, s := range strings.Fields(denyAddr) {
		p.DenyAddr = append(p.DenyAddr, parsedAddrRule(t, s))
	}
	return p
}

func TestJudgeTarget(t *testing.T) {
	const (
		yes  = ""
		no   = reasonTarget
		port = "destination port 25 is not allowed here"
	)
	for _, c := range []struct{ allow, deny, target, reason, rule string }{
		{"", "", "example.com:22", yes, "allow *:22,80,443 (default)"},
		{"", "", "192.0.2.1:80", yes, "allow *:22,80,443 (default)"},
		{"", "", "[2001:db8::1]:443", yes, "allow *:22,80,443 (default)"},
		{"", "", "example.com:25", port, "default"},
		{"", "", "192.0.2.1:25", port, "default"},

		{"*.example.com", "", "www.example.com:22", yes, "allow *.example.com"},
		{"*.example.com", "", "www.example.com:25", port, "default"},
		{"*.example.com", "", "example.com:25", no, "default"},
		{"*.example.com", "", "example.org:443", no, "default"}, // an own allow replaces the default
		{"*:25 a.example", "", "a.example:443", yes, "allow a.example"},
		{"b.example a.example *", "", "a.example:443", yes, "allow a.example"}, // the first that matches
		{"a.example:25,443", "", "a.example:25", yes, "allow a.example:25,443"},
		{"192.0.2.0/24", "", "192.0.2.1:443", yes, "allow 192.0.2.0/24"},
		{"192.0.2.0/24", "", "192.0.2.1:25", port, "default"},
		{"192.0.2.0/24", "", "[::ffff:192.0.2.1]:443", yes, "allow 192.0.2.0/24"},
		{"192.0.2.0/24", "", "[64:ff9b::192.0.2.1]:443", no, "default"},
		{"::/0", "", "[::ffff:192.0.2.1]:443", no, "default"},

		{"", ".corp", "wiki.corp:443", no, "deny .corp"},
		{"", "*.corp", "corp:443", yes, "allow *:22,80,443 (default)"},
		{"wiki.corp", "*.corp", "wiki.corp:443", no, "deny *.corp"}, // deny wins
		{"*:*", "a.example", "a.example:9999", no, "deny a.example"},
		{"*:*", "a.example:25", "a.example:25", port, "deny a.example:25"},
		{"*:*", "a.example:25", "a.example:26", yes, "allow *:*"},
		{"*:*", "*:20-30", "a.example:25", port, "deny *:20-30"},
		{"*:*", "*:1-65535", "a.example:25", no, "deny *:*"},

		{"*:*", "10.0.0.0/8", "10.1.2.3:25", no, "deny 10.0.0.0/8"},
		{"*:*", "10.0.0.0/8", "10.example:25", yes, "allow *:*"},
		{"*:*", "10.0.0.0/8:22", "10.1.2.3:25", yes, "allow *:*"},
		{"*:*", "10.0.0.0/8", "[::ffff:10.1.2.3]:25", no, "deny 10.0.0.0/8"},
		{"*:*", "10.0.0.0/8:25", "[::ffff:a00:1]:25", port, "deny 10.0.0.0/8:25"},
		{"*:*", "10.0.0.0/8", "[::10.1.2.3]:25", no, "deny 10.0.0.0/8"},
		{"*:*", "10.0.0.0/8", "[64:ff9b::10.1.2.3]:25", no, "deny 10.0.0.0/8"},
		{"*:*", "10.0.0.0/8", "[64:ff9b:1:a01:2:300::]:25", no, "deny 10.0.0.0/8"},
		{"*:*", "10.0.0.0/8", "[2002:a01:203::1]:25", no, "deny 10.0.0.0/8"},
		{"*:*", "10.0.0.0/8", "[2001::f5fe:fdfc]:25", no, "deny 10.0.0.0/8"},
		{"*:*", "2001:db8::/32", "[2001:db8::1]:25", no, "deny 2001:db8::/32"},
		{"*:*", "::/0", "[::ffff:10.1.2.3]:25", no, "deny ::/0"},
		{"*:*", "::/0", "10.1.2.3:25", yes, "allow *:*"},
	} {
		d := testPolicy(t, c.allow, c.deny, "", "").JudgeTarget(testkit.MustAuthority(t, c.target))
		want := Decision{Allowed: c.reason == yes, Rule: c.rule, Reason: c.reason, Hint: d.Hint} // see TestHint
		if !want.Allowed {
			want.Type = tunnel.ErrorDenied
		}
		if d != want {
			t.Errorf("allow %q, deny %q: %s\n got %+v\nwant %+v", c.allow, c.deny, c.target, d, want)
		}
	}
}

func TestJudgeAddr(t *testing.T) {
	const (
		yes       = ""
		no        = reasonAddress
		metadata  = no + " (metadata)"
		loopback  = no + " (loopback)"
		linkLocal = no + " (link-local)"
		private   = no + " (private)"
		special   = no + " (special)"
		public    = no + " (public)"
		port      = "destination port 22 is not allowed here"
		all       = "metadata loopback link-local private special public"
	)
	for _, c := range []struct{ deny, allowAddr, denyAddr, addr, reason, rule string }{
		{"", "", "", "8.8.8.8", yes, "allow-addr public (default)"},
		{"", "", "", "2606:4700::1", yes, "allow-addr public (default)"},
		{"", "", "", "::ffff:8.8.8.8", yes, "allow-addr public (default)"},
		{"", "", "", "169.254.169.254", metadata, "default"},
		{"", "", "", "127.0.0.1", loopback, "default"},
		{"", "", "", "::", loopback, "default"},
		{"", "", "", "169.254.1.1", linkLocal, "default"},
		{"", "", "", "fe80::1%eth0", linkLocal, "default"},
		{"", "", "", "10.0.0.1", private, "default"},
		{"", "", "", "224.0.0.1", special, "default"},

		{"", "private", "", "10.0.0.1", yes, "allow-addr private"},
		{"", "private", "", "8.8.8.8", public, "default"}, // an own allow-addr replaces the default
		{"", "public 10.0.0.0/8", "", "10.0.0.1", yes, "allow-addr 10.0.0.0/8"},
		{"", "public 10.0.0.0/8", "", "192.168.0.1", private, "default"},
		{"", "10.0.0.1 private", "", "10.0.0.1", yes, "allow-addr 10.0.0.1"}, // the first that matches
		{"", "private 10.0.0.1", "", "10.0.0.1", yes, "allow-addr private"},
		{"", "fe80::/10", "", "fe80::1%eth0", yes, "allow-addr fe80::/10"},

		{"", all, "private", "10.0.0.1", private, "deny-addr private"}, // deny wins
		{"", all, "10.0.0.0/8", "10.0.0.1", no, "deny-addr 10.0.0.0/8"},
		{"", all, "10.0.0.0/8", "::ffff:10.0.0.1", no, "deny-addr 10.0.0.0/8"},
		{"", all, "10.0.0.0/8", "64:ff9b::10.0.0.1", no, "deny-addr 10.0.0.0/8"},
		{"", all, "fe80::/10", "fe80::1%eth0", no, "deny-addr fe80::/10"},
		{"", all, "10.0.0.0/8", "11.0.0.1", yes, "allow-addr public"},

		{"8.8.0.0/16", "", "", "8.8.8.8", no, "deny 8.8.0.0/16"},
		{"8.8.0.0/16:22", "", "", "8.8.8.8", port, "deny 8.8.0.0/16:22"},
		{"8.8.0.0/16:80", "", "", "8.8.8.8", yes, "allow-addr public (default)"},
		{"8.8.0.0/16", "", "", "64:ff9b::8.8.8.8", no, "deny 8.8.0.0/16"},
		{"*:22", "", "", "8.8.8.8", yes, "allow-addr public (default)"}, // the name layer's

		{"", "0.0.0.0/0", "", "169.254.169.254", metadata, "default"},
		{"", "169.254.169.254/31", "", "169.254.169.254", metadata, "default"},
		{"", "169.254.169.254", "", "169.254.169.254", yes, "allow-addr 169.254.169.254"},
		{"", "link-local", "", "169.254.169.254", metadata, "default"},
		{"", "private", "", "100.100.100.200", metadata, "default"},
		{"", "public", "", "168.63.129.16", metadata, "default"},
		{"", "fd00::/8", "", "fd00:ec2::254", metadata, "default"},
		{"", "fd00:ec2::254/128", "", "fd00:ec2::254", yes, "allow-addr fd00:ec2::254"},
		{"", "metadata", "", "fd20:ce::254", yes, "allow-addr metadata"},
		{"", "metadata", "169.254.0.0/16", "169.254.169.254", no, "deny-addr 169.254.0.0/16"},

		// The embedded address must be allowed by itself.
		{"", "", "", "64:ff9b::8.8.8.8", yes, "allow-addr public (default)"},
		{"", "", "", "64:ff9b::10.0.0.1", private, "default"},
		{"", "", "", "64:ff9b::169.254.169.254", metadata, "default"},
		{"", "", "", "64:ff9b::168.63.129.16", metadata, "default"},
		{"", "64:ff9b::/96", "", "64:ff9b::10.0.0.1", private, "default"},
		{"", "64:ff9b::/96", "", "64:ff9b::8.8.8.8", public, "default"},
		{"", "public special", "", "64:ff9b:1:808:8:800::", yes, "allow-addr special"},
		{"", "public special", "", "64:ff9b:1:808:8:800:a00:1", private, "default"},
		{"", "public special", "", "64:ff9b:1::10.0.0.1", private, "default"},
		{"", "public special", "", "2002:a00:1::1", private, "default"},
		{"", "public special", "", "2002:808:808::1", yes, "allow-addr special"},
		{"", "public special", "", "2001::80ff:fffe", loopback, "default"},
		{"", "public special", "", "::127.0.0.1", loopback, "default"},
		{"", "loopback", "", "::1", yes, "allow-addr loopback"},
		{"", "private", "", "::ffff:10.0.0.1", yes, "allow-addr private"},
	} {
		p := testPolicy(t, "", c.deny, c.allowAddr, c.denyAddr)
		d := p.JudgeAddr(netip.AddrPortFrom(netip.MustParseAddr(c.addr), 22))
		want := Decision{Allowed: c.reason == yes, Rule: c.rule, Reason: c.reason, Hint: d.Hint} // see TestHint
		if !want.Allowed {
			want.Type = tunnel.ErrorDestinationProhibited
		}
		if d != want {
			t.Errorf("deny %q, allow-addr %q, deny-addr %q: %s\n got %+v\nwant %+v", c.deny, c.allowAddr, c.denyAddr, c.addr, d, want)
		}
	}
}

func TestNothingIsNeverAllowed(t *testing.T) {
	p := testPolicy(t, "*:*", "", "public", "")
	if d := p.JudgeTarget(tunnel.Authority{}); d.Allowed {
		t.Errorf("the zero Authority: %+v", d)
	}
	for _, a := range []netip.AddrPort{{}, netip.AddrPortFrom(netip.MustParseAddr("8.8.8.8"), 0), netip.AddrPortFrom(netip.Addr{}, 22)} {
		if d := p.JudgeAddr(a); d.Allowed {
			t.Errorf("%v: %+v", a, d)
		}
	}
	empty := &Policy{Allow: []Pattern{}, AllowAddr: []AddrRule{}}
	if d := empty.JudgeTarget(testkit.MustAuthority(t, "a.example:443")); d.Allowed {
		t.Errorf("an empty Allow: %+v", d)
	}
	if d := empty.JudgeAddr(netip.MustParseAddrPort("8.8.8.8:443")); d.Allowed {
		t.Errorf("an empty AllowAddr: %+v", d)
	}
	zero := &Policy{Allow: []Pattern{{}}, AllowAddr: []AddrRule{{}}}
	if d := zero.JudgeTarget(testkit.MustAuthority(t, "a.example:443")); d.Allowed {
		t.Errorf("the zero Pattern: %+v", d)
	}
	if d := zero.JudgeAddr(netip.MustParseAddrPort("169.254.169.254:80")); d.Allowed {
		t.Errorf("the zero AddrRule: %+v", d)
	}
}

func TestReasonsNameNoHost(t *testing.T) {
	p := testPolicy(t, "secret.example", "*.hidden.example 10.0.0.0/8", "public", "192.168.0.0/16")
	for _, s := range []string{"secret.example:25", "x.hidden.example:443", "10.0.0.1:443", "other.example:443"} {
		if d := p.JudgeTarget(testkit.MustAuthority(t, s)); d.Allowed || d.Reason == "" || strings.Contains(d.Reason, "example") || strings.Contains(d.Reason, "10.") {
			t.Errorf("%s: %+v", s, d)
		}
	}
	for _, s := range []string{"10.0.0.1:22", "192.168.0.1:22", "127.0.0.1:22"} {
		if d := p.JudgeAddr(netip.MustParseAddrPort(s)); d.Allowed || d.Reason == "" || strings.ContainsAny(d.Reason, "0123456789") {
			t.Errorf("%s: %+v", s, d)
		}
	}
}

func TestOwnAddressesAreLoopback(t *testing.T) {
	own := netip.MustParseAddr("8.8.8.8")
	p := &Policy{IsOwn: func(a netip.Addr) bool { return a == own }}
	for _, s := range []string{"8.8.8.8:22", "[::ffff:8.8.8.8]:22", "[64:ff9b::8.8.8.8]:22"} {
		if d := p.JudgeAddr(netip.MustParseAddrPort(s)); d.Allowed || d.Reason != reasonClass(ClassLoopback) {
			t.Errorf("%s: %+v", s, d)
		}
	}
	if d := p.JudgeAddr(netip.MustParseAddrPort("8.8.4.4:22")); !d.Allowed {
		t.Errorf("8.8.4.4: %+v", d)
	}
}

func TestInterfacesAreOwnByDefault(t *testing.T) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	p := new(Policy)
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		addr, _ := netip.AddrFromSlice(n.IP)
		if d := p.JudgeAddr(netip.AddrPortFrom(addr, 22)); d.Reason != reasonClass(ClassLoopback) {
			t.Errorf("%v: %+v", addr, d)
		}
	}
}

func TestWithAddrDefault(t *testing.T) {
	loopback := netip.MustParseAddrPort("127.0.0.1:22")
	rules := []AddrRule{{class: ClassPublic}, {class: ClassLoopback}}
	base := testPolicy(t, "", "", "", "")
	if d := base.WithDefaultAllowAddr(rules...).JudgeAddr(loopback); !d.Allowed || d.Rule != "allow-addr loopback (default)" {
		t.Errorf("nil AllowAddr: %+v", d)
	}
	if d := base.JudgeAddr(loopback); d.Allowed {
		t.Errorf("the policy copied from: %+v", d)
	}
	if d := testPolicy(t, "", "", "public", "").WithDefaultAllowAddr(rules...).JudgeAddr(loopback); d.Allowed {
		t.Errorf("own AllowAddr: %+v", d)
	}
}

func TestPolicyIsSafeForConcurrentUse(t *testing.T) {
	p := testPolicy(t, "*.example", "x.example", "", "")
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if d := p.JudgeTarget(testkit.MustAuthority(t, "a.example:443")); !d.Allowed {
				t.Errorf("%+v", d)
			}
			if d := p.JudgeAddr(netip.MustParseAddrPort("8.8.8.8:443")); !d.Allowed {
				t.Errorf("%+v", d)
			}
		})
	}
	group.Wait()
}

func TestDescribe(t *testing.T) {
	for _, c := range []struct{ allow, deny, allowAddr, denyAddr, targets, addresses string }{
		{"", "", "", "", "any host on ports 22, 80, 443", "public"},
		{"*:443", "", "public private loopback", "", "any host on port 443", "public, private, loopback"},
		{"*:*", "*.corp *:25 [2001:db8::/32]:22-23", "public", "10.0.0.0/8",
			"any host on any port; never *.corp, any host on port 25, 2001:db8::/32 on ports 22-23", "public; never 10.0.0.0/8"},
		{"*.a.example .b.example:22,8000-8999", "", "", "",
			"*.a.example on ports 22, 80, 443, .b.example on ports 22, 8000-8999", "public"},
		{"a:1 b:2 c:3 d:4 e:5 f:6", "", "", "", "a on port 1, b on port 2, c on port 3, d on port 4, and 2 more", "public"},
	} {
		targets, addresses := testPolicy(t, c.allow, c.deny, c.allowAddr, c.denyAddr).Describe()
		if targets != c.targets || addresses != c.addresses {
			t.Errorf("got  %q, %q\nwant %q, %q", targets, addresses, c.targets, c.addresses)
		}
	}
	if targets, addresses := (&Policy{Allow: []Pattern{}, AllowAddr: []AddrRule{}}).Describe(); targets != "nothing" || addresses != "nothing" {
		t.Errorf("empty lists: %q, %q", targets, addresses)
	}
}

func TestAddrRuleText(t *testing.T) {
	for in, want := range map[string]string{
		"public": "public", "Private": "private", "10.0.0.0/8": "10.0.0.0/8", "192.0.2.1/32": "192.0.2.1", "192.0.2.1": "192.0.2.1",
		"2001:DB8::/32": "2001:db8::/32", "::1": "::1", "0.0.0.0/0": "0.0.0.0/0",
	} {
		if got := parsedAddrRule(t, in).String(); got != want {
			t.Errorf("ParseAddrRule(%q).String() = %q, want %q", in, got, want)
		}
	}
	for in, says := range map[string]string{
		"": "public", "*": "metadata", "internet": "link-local", "example.com": "192.0.2.0/24", "10.0.0.1/8": "10.0.0.0/8",
		"10.0.0.0/8:22": "10.0.0.0/8:22", "::ffff:0:0/96": "0.0.0.0/0", "fe80::1%eth0": "zone", "[::1]": "no IPv6", "127.1": "127.1", "010.0.0.1": "010",
	} {
		if r, err := ParseAddrRule(in); err == nil || !strings.Contains(err.Error(), says) || r.String() != "" {
			t.Errorf("ParseAddrRule(%q) = %v, %v; want an error that says %s", in, r, err, says)
		}
	}
}

func parsedAddrRule(t testing.TB, s string) AddrRule {
	t.Helper()
	r, err := ParseAddrRule(s)
	if err != nil {
		t.Fatalf("ParseAddrRule(%q): %v", s, err)
	}
	return r
}

// An address that leads to this host is of the class loopback, whatever it is by
// itself. The system is asked only where that makes a difference.
func TestAddressesThatLeadHereAreLoopback(t *testing.T) {
	const here, elsewhere = "9.9.9.9", "9.9.8.8"
	for _, tt := range []struct {
		allow, deny string
		addr        string
		allowed     bool
		asked       int
	}{
		{"public", "", here, false, 1},
		{"public", "", elsewhere, true, 1},
		{"public", "", "64:ff9b::909:909", false, 2},
		{"public private", "", "10.0.0.1", true, 1},
		{"public loopback", "", here, true, 0},
		{"public loopback", "", elsewhere, true, 0},
		{"public 9.9.9.0/24", "", here, true, 0}, // allowed by its address
		{"public loopback", "127.0.0.0/8", here, true, 0},
		{"public loopback", "loopback", here, false, 1},
		{"public loopback", "loopback", elsewhere, true, 1},
		{"private", "", here, false, 0}, // not allowed anyhow
		{"metadata public", "", "169.254.169.254", true, 0},
		{"public", "", "127.0.0.1", false, 0},
	} {
		asked := 0
		p := Policy{IsOwn: func(netip.Addr) bool { return false }, LeadsHere: func(ap netip.AddrPort) bool {
			asked++
			return ap == netip.MustParseAddrPort(here+":443")
		}}
		for _, s := range strings.Fields(tt.allow) {
			p.AllowAddr = append(p.AllowAddr, parsedAddrRule(t, s))
		}
		for _, s := range strings.Fields(tt.deny) {
			p.DenyAddr = append(p.DenyAddr, parsedAddrRule(t, s))
		}
		d := p.WithDefaultAllowAddr().JudgeAddr(netip.AddrPortFrom(netip.MustParseAddr(tt.addr), 443))
		if d.Allowed != tt.allowed || asked != tt.asked {
			t.Errorf("%q with --allow-addr %s, --deny-addr %q: %+v, asked %d times; want %v, %d times", tt.addr, tt.allow, tt.deny, d, asked, tt.allowed, tt.asked)
		}
		if d := p.JudgeHere(netip.AddrPortFrom(netip.MustParseAddr(here), 443)); d.Allowed != (tt.allow == "public 9.9.9.0/24" || strings.Contains(tt.allow, "loopback") && tt.deny != "loopback") {
			t.Errorf("as one that leads here, with --allow-addr %s, --deny-addr %q: %+v", tt.allow, tt.deny, d)
		}
	}
}

// The full name of a short one that was allowed has to pass the Denys only.
func TestJudgeCompleted(t *testing.T) {
	p := Policy{Allow: []Pattern{parsedPattern(t, "vault:443")}, Deny: []Pattern{parsedPattern(t, "*.corp.test:22"), parsedPattern(t, "vault.deny.test")}}
	for full, want := range map[string]Decision{
		"vault.corp.test:443": {Allowed: true},
		"vault.corp.test:22":  {Rule: "deny *.corp.test:22", Reason: "destination port 22 is not allowed here", Type: tunnel.ErrorDenied},
		"vault.deny.test:443": {Rule: "deny vault.deny.test", Reason: "this destination is not allowed here", Type: tunnel.ErrorDenied},
	} {
		if d := p.JudgeCompleted(testkit.MustAuthority(t, full)); d != want {
			t.Errorf("%s: %+v, want %+v", full, d, want)
		}
	}
}
