package policy

import (
	"math"
	"net/netip"
	"slices"
)

// patternIndex finds the first pattern of a list that matches, by look-ups of exact
// keys instead of a scan. It agrees with Pattern.match on every pattern.
type patternIndex struct {
	ports []portSet
	rules []string         // the Decision's Rule for each pattern
	hosts map[string][]int // by name; with a dot before it, patterns for the subdomains of the name
	nets  prefixIndex
	any   []int
}

func indexPatterns(list []Pattern, ports portSet, before, behind string) patternIndex {
	x := patternIndex{hosts: make(map[string][]int)}
	for i, p := range list {
		x.ports = append(x.ports, p.portsOr(ports))
		x.rules = append(x.rules, before+p.text+behind)
		switch p.kind {
		case patternAny:
			x.any = append(x.any, i)
		case patternDomain:
			x.hosts[p.host[1:]] = append(x.hosts[p.host[1:]], i)
			x.hosts[p.host] = append(x.hosts[p.host], i)
		case patternName, patternSubdomains:
			x.hosts[p.host] = append(x.hosts[p.host], i)
		case patternPrefix:
			x.nets.add(p.prefix, i)
		}
	}
	return x
}

// find returns the first pattern that matches, or -1. hostKnown reports whether a
// pattern matches the host, if not the port. addr is valid if host is a literal.
func (x *patternIndex) find(host string, addr netip.Addr, port uint16) (first int, hostKnown bool) {
	best := x.firstOn(x.any, port, math.MaxInt)
	hostKnown = len(x.any) > 0
	if addr.IsValid() {
		for _, bits := range x.nets.lengths(addr) {
			list := x.nets.at(addr, bits)
			hostKnown = hostKnown || len(list) > 0
			best = x.firstOn(list, port, best)
		}
	} else if len(x.hosts) > 0 {
		list := x.hosts[host]
		hostKnown = hostKnown || len(list) > 0
		best = x.firstOn(list, port, best)
		for i := range len(host) {
			if host[i] != '.' {
				continue
			}
			list := x.hosts[host[i:]]
			hostKnown = hostKnown || len(list) > 0
			best = x.firstOn(list, port, best)
		}
	}
	return found(best), hostKnown
}

// findAddr returns the first pattern by address or CIDR that matches, or -1.
func (x *patternIndex) findAddr(addr netip.Addr, port uint16) int {
	best := math.MaxInt
	for _, bits := range x.nets.lengths(addr) {
		best = x.firstOn(x.nets.at(addr, bits), port, best)
	}
	return found(best)
}

// firstOn returns the first pattern in list whose ports contain port, or best if
// that is earlier.
func (x *patternIndex) firstOn(list []int, port uint16, best int) int {
	for _, i := range list {
		if i >= best {
			break
		}
		if x.ports[i].contains(port) {
			return i
		}
	}
	return best
}

func found(best int) int {
	if best == math.MaxInt {
		return -1
	}
	return best
}

// addrIndex finds the first address rule of a list that matches.
type addrIndex struct {
	rules   []string
	classes [ClassPublic + 1]int // 1 + the first rule that names the class
	nets    prefixIndex
}

func indexAddrRules(list []AddrRule, before, behind string) addrIndex {
	var x addrIndex
	for i, r := range list {
		x.rules = append(x.rules, before+r.String()+behind)
		switch {
		case r.prefix.IsValid():
			x.nets.add(r.prefix, i)
		case x.classes[r.class] == 0:
			x.classes[r.class] = i + 1
		}
	}
	return x
}

// find returns the first rule that matches, or -1, and whether that rule is a
// class. If exact is set, CIDRs of more than one address do not count.
func (x *addrIndex) find(addr netip.Addr, class AddrClass, exact bool) (first int, byClass bool) {
	best := math.MaxInt
	if i := x.classes[class]; i > 0 {
		best, byClass = i-1, true
	}
	for _, bits := range x.nets.lengths(addr) {
		if exact && bits != addr.BitLen() {
			continue
		}
		if list := x.nets.at(addr, bits); len(list) > 0 && list[0] < best {
			best, byClass = list[0], false
		}
	}
	return found(best), byClass
}

// prefixIndex finds the prefixes that contain an address, by one look-up for each
// prefix length in use.
type prefixIndex struct {
	lists  map[netip.Prefix][]int
	v4, v6 []int // the prefix lengths in use
}

func (x *prefixIndex) add(p netip.Prefix, i int) {
	if x.lists == nil {
		x.lists = make(map[netip.Prefix][]int)
	}
	x.lists[p] = append(x.lists[p], i)
	lengths := &x.v6
	if p.Addr().Is4() {
		lengths = &x.v4
	}
	if !slices.Contains(*lengths, p.Bits()) {
		*lengths = append(*lengths, p.Bits())
	}
}

func (x *prefixIndex) lengths(addr netip.Addr) []int {
	if addr.Is4() {
		return x.v4
	}
	return x.v6
}

func (x *prefixIndex) at(addr netip.Addr, bits int) []int {
	p, _ := addr.Prefix(bits) // no error: bits is a prefix length of this family
	return x.lists[p]
}
