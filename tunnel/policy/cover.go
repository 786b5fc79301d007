package policy

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
)

// CoversMostOfInternet reports whether the networks, taken together, contain more than
// half of the public addresses of IPv4 or of IPv6. Where the pieces meet does not
// matter: 0.0.0.0/1 and 128.0.0.0/1 are all of IPv4.
func CoversMostOfInternet(networks []netip.Prefix) bool {
	var v4, v6 []netip.Prefix
	for _, p := range networks {
		if p.Addr().Is4() {
			v4 = append(v4, p)
		} else {
			v6 = append(v6, p)
		}
	}
	return coversHalf(v4, prefixes("0.0.0.0/0")) || coversHalf(v6, assigned6) || coversHalf(v6, []netip.Prefix{globalUnicast6})
}

// assigned6 are the large blocks of IPv6 that IANA has assigned to the regional
// registries, from its registry "IPv6 Global Unicast Address Assignments". Nearly all
// hosts are in them, though they are no more than a sixtieth of globalUnicast6.
var assigned6 = prefixes(
	"2001::/16", // in pieces of /23 to /19
	"2003::/18",
	"2400::/12", "2410::/12",
	"2600::/12", "2610::/23", "2620::/23", "2630::/12",
	"2800::/12",
	"2a00::/12", "2a10::/12",
	"2c00::/12",
)

// coversHalf reports whether the networks contain more than half of the addresses in
// space that no table of special addresses has.
func coversHalf(networks, space []netip.Prefix) bool {
	special := spans(slices.Concat(loopbackPrefixes, linkLocalPrefixes, privatePrefixes, specialPrefixes), space[0].Addr().Is4())
	public := without(spans(space, space[0].Addr().Is4()), special)
	left := without(public, spans(networks, space[0].Addr().Is4()))
	return size(left) < (size(public)+1)/2
}

// span is a range of addresses, of which the numbers are the first 64 bits in IPv6.
type span struct{ first, last uint64 }

// spans returns the prefixes of one IP version as ranges, in order. Those smaller than a
// /64 do not count.
func spans(list []netip.Prefix, v4 bool) []span {
	var out []span
	for _, p := range list {
		if p.Addr().Is4() != v4 || p.Bits() > 64 {
			continue
		}
		p = p.Masked()
		var s span
		if v4 {
			b := p.Addr().As4()
			s.first = uint64(binary.BigEndian.Uint32(b[:]))
			s.last = s.first + 1<<(32-p.Bits()) - 1
		} else {
			b := p.Addr().As16()
			s.first = binary.BigEndian.Uint64(b[:8])
			s.last = s.first + (1<<(64-p.Bits()) - 1) // the shift by 64 of a /0 gives 0, and that less 1 all bits
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	return out
}

// without returns what is left of the ranges after others are taken away, which are in
// order.
func without(ranges, taken []span) []span {
	var left []span
	for _, r := range ranges {
		gone := false
		for _, t := range taken {
			if t.last < r.first || t.first > r.last {
				continue
			}
			if t.first > r.first {
				left = append(left, span{r.first, t.first - 1})
			}
			if t.last >= r.last {
				gone = true
				break
			}
			r.first = t.last + 1
		}
		if !gone {
			left = append(left, r)
		}
	}
	return left
}

// size returns how many numbers are in ranges that do not overlap.
func size(ranges []span) (n uint64) {
	for _, r := range ranges {
		n += r.last - r.first + 1
	}
	return n
}
