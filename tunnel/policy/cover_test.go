package policy

import (
	"net/netip"
	"strings"
	"testing"
)

func TestCoversMostOfInternet(t *testing.T) {
	for _, tt := range []struct {
		networks string
		want     bool
	}{
		{"", false},
		{"0.0.0.0/0", true},
		{"::/0", true},
		{"0.0.0.0/1 128.0.0.0/1", true},
		{"0.0.0.0/2 64.0.0.0/2 128.0.0.0/2 192.0.0.0/2", true},
		{"0.0.0.0/1", true},    // nearly all of the special ranges are in the other half
		{"128.0.0.0/1", false}, // which is why this is less than half
		{"128.0.0.0/1 0.0.0.0/3", true},
		{"64.0.0.0/2 128.0.0.0/2", true},
		{"64.0.0.0/2 64.0.0.0/2 64.0.0.0/3 64.0.0.0/2", false}, // one network four times
		{"10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 fc00::/7", false},
		{"240.0.0.0/4 224.0.0.0/4", false},
		{"8000::/1", false}, // all but the public range
		{"::/1", true},
		{"2000::/3", true},
		{"2000::/4", true}, // in which are all assigned blocks
		{"3000::/4", true},
		{"2000::/5", true},
		{"2400::/12 2410::/12 2600::/12 2a00::/12 2a10::/12 2800::/12", true},
		{"2a00::/11", false},
		{"2001:db8::/32 2001:db8::1/128", false},
		{"1.2.3.4/32 2a00::1/128", false},
		{"10.0.0.0/8 ::/0", true},
	} {
		var networks []netip.Prefix
		for _, s := range strings.Fields(tt.networks) {
			networks = append(networks, netip.MustParsePrefix(s))
		}
		if got := CoversMostOfInternet(networks); got != tt.want {
			t.Errorf("%q: %v", tt.networks, got)
		}
	}
	// In many small pieces, in the order of their last bits.
	var pieces []netip.Prefix
	for low := range 256 {
		if b := byte(low); b&1 == 0 || b < 128 {
			pieces = append(pieces, netip.PrefixFrom(netip.AddrFrom4([4]byte{b>>4 | b<<4}), 8))
		}
	}
	if !CoversMostOfInternet(pieces) {
		t.Error("three quarters of IPv4 in pieces are not most of it")
	}
}
