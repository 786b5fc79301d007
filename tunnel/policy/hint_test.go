package policy

import (
	"net/netip"
	"strings"
	"testing"

	"culvert/tunnel/internal/testkit"
)

// The operator is told the flag that would allow a target, and with that flag it is
// allowed. Nothing is advised where a rule denies it.
func TestHintOfATarget(t *testing.T) {
	for _, tt := range []struct{ allow, deny, target, want string }{
		{"", "", "a.test:8443", "--allow '*:22,80,443,8443' would allow it"},
		{"a.test:443", "", "a.test:8443", "--allow 'a.test:8443' would allow it"},
		{"a.test", "", "b.test:443", "--allow 'b.test:443' would allow it"},
		{"a.test", "", "[2001:db8::1]:443", "--allow '[2001:db8::1]:443' would allow it"},
		{"a.test", "", "[::ffff:192.0.2.1]:443", "--allow '192.0.2.1:443' would allow it"},
		{"a.test", "", "[64:ff9b::192.0.2.1]:443", "--allow '[64:ff9b::c000:201]:443' would allow it"},
		{"", "*:25", "a.test:25", ""},
		{"", "a.test", "a.test:443", ""},
		{"", "", "a.test:443", ""},
	} {
		target := testkit.MustAuthority(t, tt.target)
		d := testPolicy(t, tt.allow, tt.deny, "", "").JudgeTarget(target)
		if d.Hint != tt.want || strings.Contains(d.Reason, "--") {
			t.Errorf("%s: %q, %q", tt.target, d.Hint, d.Reason)
		}
		if _, flag, ok := strings.Cut(d.Hint, "--allow '"); ok {
			pattern, _, _ := strings.Cut(flag, "'")
			if d := testPolicy(t, tt.allow+" "+pattern, tt.deny, "", "").JudgeTarget(target); !d.Allowed {
				t.Errorf("%s with %s: %+v", tt.target, pattern, d)
			}
		}
	}
}

// So it is for private addresses. To open what belongs to the proxy's own machine, or to
// its cloud, is not advised.
func TestHintOfAnAddress(t *testing.T) {
	for _, tt := range []struct{ allow, deny, addr, want string }{
		{"", "", "10.0.0.1", "--allow-addr public --allow-addr private would allow it"},
		{"loopback", "", "10.0.0.1", "--allow-addr private would allow it"},
		{"", "private", "10.0.0.1", ""},
		{"", "", "127.0.0.1", ""},
		{"", "", "169.254.169.254", ""},
		{"", "", "169.254.0.1", ""},
		{"", "", "192.0.2.1", ""},
		{"", "", "1.1.1.1", ""},
	} {
		d := testPolicy(t, "", "", tt.allow, tt.deny).JudgeAddr(netip.AddrPortFrom(netip.MustParseAddr(tt.addr), 443))
		if d.Hint != tt.want || strings.Contains(d.Reason, "--") {
			t.Errorf("%s: %q, %q", tt.addr, d.Hint, d.Reason)
		}
	}
}
