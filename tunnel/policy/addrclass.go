package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// AddrClass is a class of addresses, such as loopback or public. Every address
// has exactly one class: the first of the constants below that fits.
type AddrClass uint8

// The classes of addresses. The zero AddrClass is not one of them.
const (
	ClassMetadata  AddrClass = iota + 1 // a service of a cloud that hands out credentials
	ClassLoopback                       // this host, its own interfaces' addresses included
	ClassLinkLocal                      // 169.254.0.0/16, fe80::/10
	ClassPrivate                        // RFC 1918, fc00::/7, 100.64.0.0/10
	ClassSpecial                        // the rest of IANA's special-purpose registries, multicast, unassigned IPv6
	ClassPublic                         // the Internet
)

var addrClassNames = [...]string{"", "metadata", "loopback", "link-local", "private", "special", "public"}

// String returns the name of the class, as --allow-addr takes it.
func (c AddrClass) String() string { return addrClassNames[c] }

// parseAddrClass parses a class's name, in any case.
func parseAddrClass(s string) (AddrClass, error) {
	i := slices.Index(addrClassNames[:], strings.ToLower(s))
	if i < int(ClassMetadata) {
		return 0, fmt.Errorf("%q is no address, no CIDR and none of the classes %s", s, strings.Join(addrClassNames[ClassMetadata:], ", "))
	}
	return AddrClass(i), nil
}

var loopbackPrefixes = prefixes(
	"127.0.0.0/8", // RFC 1122, section 3.2.1.3
	"0.0.0.0/8",   // RFC 791, section 3.2: "this network"; Linux connects 0.0.0.0 to itself
	"::1/128",     // RFC 4291, section 2.5.3
	"::/128",      // RFC 4291, section 2.5.2; connects to itself likewise
)

var linkLocalPrefixes = prefixes(
	"169.254.0.0/16", // RFC 3927
	"fe80::/10",      // RFC 4291, section 2.5.6
)

var privatePrefixes = prefixes(
	"10.0.0.0/8",     // RFC 1918
	"172.16.0.0/12",  // RFC 1918
	"192.168.0.0/16", // RFC 1918
	"100.64.0.0/10",  // RFC 6598: shared address space
	"fc00::/7",       // RFC 4193: unique local
)

// specialPrefixes are the entries of IANA's IPv4 and IPv6 Special-Purpose
// Address Registries (RFC 6890, RFC 8190) that belong to none of the classes
// above. Globally reachable entries are included: they are anycast services of
// the network itself, and no target for a tunnel. Two entries are left out:
// ::ffff:0:0/96, which is judged as IPv4, and 64:ff9b::/96, which is nat64Prefix.
var specialPrefixes = prefixes(
	"192.0.0.0/24",       // RFC 6890: IETF protocol assignments, those below within
	"192.0.0.0/29",       // RFC 7335: IPv4 service continuity
	"192.0.0.8/32",       // RFC 7600: dummy address
	"192.0.0.9/32",       // RFC 7723: Port Control Protocol anycast
	"192.0.0.10/32",      // RFC 8155: TURN anycast
	"192.0.0.170/31",     // RFC 8880, RFC 7050: NAT64/DNS64 discovery
	"192.0.2.0/24",       // RFC 5737: documentation
	"192.31.196.0/24",    // RFC 7535: AS112-v4
	"192.52.193.0/24",    // RFC 7450: AMT
	"192.88.99.0/24",     // RFC 7526: 6to4 relay anycast, deprecated
	"192.88.99.2/32",     // RFC 6751: 6a44 relay anycast
	"192.175.48.0/24",    // RFC 7534: direct delegation AS112
	"198.18.0.0/15",      // RFC 2544: benchmarking
	"198.51.100.0/24",    // RFC 5737: documentation
	"203.0.113.0/24",     // RFC 5737: documentation
	"224.0.0.0/4",        // RFC 5771: multicast
	"240.0.0.0/4",        // RFC 1112, section 4: reserved
	"255.255.255.255/32", // RFC 8190, RFC 919: limited broadcast
	"::/96",              // RFC 4291, section 2.5.5.1: IPv4-compatible, deprecated
	"64:ff9b:1::/48",     // RFC 8215: local-use NAT64
	"100::/64",           // RFC 6666: discard-only
	"100:0:0:1::/64",     // RFC 9780: dummy prefix
	"2001::/23",          // RFC 2928: IETF protocol assignments, those below within
	"2001::/32",          // RFC 4380: Teredo
	"2001:1::1/128",      // RFC 7723: Port Control Protocol anycast
	"2001:1::2/128",      // RFC 8155: TURN anycast
	"2001:1::3/128",      // RFC 9665: DNS-SD service registration anycast
	"2001:2::/48",        // RFC 5180: benchmarking
	"2001:3::/32",        // RFC 7450: AMT
	"2001:4:112::/48",    // RFC 7535: AS112-v6
	"2001:10::/28",       // RFC 4843: ORCHID, deprecated
	"2001:20::/28",       // RFC 7343: ORCHIDv2
	"2001:30::/28",       // RFC 9374: drone remote identification
	"2001:db8::/32",      // RFC 3849: documentation
	"2002::/16",          // RFC 3056: 6to4
	"2620:4f:8000::/48",  // RFC 7534: direct delegation AS112
	"3fff::/20",          // RFC 9637: documentation
	"5f00::/16",          // RFC 9602: SRv6 segment identifiers
	"fec0::/10",          // RFC 3879: site-local, deprecated
	"ff00::/8",           // RFC 4291, section 2.7: multicast
)

var (
	// RFC 6052, section 2.1. On an IPv6-only network every IPv4 address is
	// reached through this prefix. It is as public as the IPv4 address inside it.
	nat64Prefix = netip.MustParsePrefix("64:ff9b::/96")

	// RFC 4291, section 2.4: the range from which IANA assigns global unicast
	// addresses. Addresses outside it are unassigned, so a network that routes
	// them does so privately.
	globalUnicast6 = netip.MustParsePrefix("2000::/3")

	compatiblePrefix = netip.MustParsePrefix("::/96")
	localNAT64Prefix = netip.MustParsePrefix("64:ff9b:1::/48")
	sixToFourPrefix  = netip.MustParsePrefix("2002::/16")
	teredoPrefix     = netip.MustParsePrefix("2001::/32")
)

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

func within(list []netip.Prefix, addr netip.Addr) bool {
	for _, p := range list {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// Classify returns the class of addr. An IPv4-mapped address has the class of its
// IPv4 address; the other forms of IPv6 that embed IPv4 have a class of their own.
// A zone is ignored. own reports whether an address is one of this host's, which
// makes it ClassLoopback; if own is nil, none is.
func Classify(addr netip.Addr, own func(netip.Addr) bool) AddrClass {
	addr = addr.Unmap().WithZone("") // no prefix contains an address with a zone
	switch {
	case isMetadata(addr):
		return ClassMetadata
	case within(loopbackPrefixes, addr), own != nil && own(addr):
		return ClassLoopback
	case within(linkLocalPrefixes, addr):
		return ClassLinkLocal
	case within(privatePrefixes, addr):
		return ClassPrivate
	case within(specialPrefixes, addr):
		return ClassSpecial
	case addr.Is4(), globalUnicast6.Contains(addr), nat64Prefix.Contains(addr):
		return ClassPublic
	}
	return ClassSpecial
}

// embeddedIPv4 returns the IPv4 addresses to which addr may lead through a
// translator or relay: none for IPv4 and plain IPv6, one for most forms that embed
// IPv4, and two for local-use NAT64 (RFC 8215). The site may use that prefix as a
// /48 or as a /96, and only the site knows which.
func embeddedIPv4(addr netip.Addr) []netip.Addr {
	if !addr.Is6() {
		return nil
	}
	addr = addr.WithZone("")
	b := addr.As16()
	last := netip.AddrFrom4([4]byte(b[12:]))
	switch {
	case addr.Is4In6(): // RFC 4291, section 2.5.5.2
		return []netip.Addr{last}
	case within(loopbackPrefixes, addr): // :: and ::1 are not IPv4-compatible addresses
		return nil
	case compatiblePrefix.Contains(addr), nat64Prefix.Contains(addr): // RFC 4291, section 2.5.5.1; RFC 6052, section 2.2
		return []netip.Addr{last}
	case localNAT64Prefix.Contains(addr):
		// RFC 6052, section 2.2: behind a /48 stand half of the address, the
		// "u" octet and the other half. A reading that gives 0.0.0.0 is ignored.
		half := netip.AddrFrom4([4]byte{b[6], b[7], b[9], b[10]})
		switch {
		case half.IsUnspecified():
			return []netip.Addr{last}
		case last.IsUnspecified():
			return []netip.Addr{half}
		}
		return []netip.Addr{half, last}
	case sixToFourPrefix.Contains(addr): // RFC 3056, section 2
		return []netip.Addr{netip.AddrFrom4([4]byte(b[2:]))}
	case teredoPrefix.Contains(addr): // RFC 4380, section 4: the client's address, inverted
		return []netip.Addr{netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]})}
	}
	return nil
}
