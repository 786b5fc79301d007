package resolve

import (
	"net"
	"net/netip"
)

// prefersIPv6 reports whether an IPv6 address should be tried before IPv4: the system
// has an address to reach it from, and one of the same kind (RFC 6724, section 6, rules 1
// and 5). No packet is sent: to connect by UDP only chooses a route.
func (r *Resolver) prefersIPv6(to netip.Addr) bool {
	if r.PrefersIPv6 != nil {
		return r.PrefersIPv6(to)
	}
	conn, err := net.DialUDP("udp6", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 9)))
	if err != nil {
		return false
	}
	defer conn.Close()
	from := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
	return kindOf(from) == kindOf(to)
}

// kindOf returns the label of an IPv6 address in the policy table of RFC 6724, section
// 2.1, as far as it tells addresses apart that a host has today.
func kindOf(addr netip.Addr) int {
	for label, prefix := range [...]netip.Prefix{loopback6, uniqueLocal, sixToFour, teredo} {
		if prefix.Contains(addr.WithZone("")) {
			return label
		}
	}
	return -1
}

var (
	loopback6   = netip.MustParsePrefix("::1/128")
	uniqueLocal = netip.MustParsePrefix("fc00::/7")
	sixToFour   = netip.MustParsePrefix("2002::/16")
	teredo      = netip.MustParsePrefix("2001::/32")
)
