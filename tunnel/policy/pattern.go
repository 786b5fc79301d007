package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"culvert/tunnel"
)

// Pattern is HOST[:PORTS], which matches targets: one entry of a Policy's Allow or
// Deny, or the condition of a proxy's rule for routes. HOST is
//
//	example.com    that name
//	*.example.com  its subdomains
//	.example.com   the name and its subdomains
//	192.0.2.1      that address, as a literal
//	192.0.2.0/24   every address of that CIDR, as a literal
//	*              every name and every literal
//
// and an IPv6 address or CIDR is in brackets if ports follow. PORTS is *, or ports
// and ranges separated by commas, as in 22,8000-8999. The fields that hold Patterns
// say which ports one without PORTS matches. The zero Pattern matches nothing.
type Pattern struct {
	kind   patternKind
	host   string       // patternName: the name; patternSubdomains, patternDomain: the name with a dot before it
	prefix netip.Prefix // patternPrefix; masked, never IPv4-mapped
	ports  portSet      // nil if the pattern names none
	text   string
}

type patternKind uint8

const (
	patternNone patternKind = iota
	patternAny
	patternName
	patternSubdomains
	patternDomain
	patternPrefix
)

var (
	errNoPattern     = errors.New("want HOST[:PORTS], as in example.com, *.example.com:443 or 192.0.2.0/24:22,8000-8999")
	errPatternURL    = errors.New("want HOST[:PORTS], not a URL")
	errPatternASCII  = errors.New("a name that is not ASCII must be written in its xn-- form")
	errPatternColons = errors.New("an IPv6 address or CIDR followed by ports needs brackets, as in [2001:db8::1]:443, and several ports need commas")
	errBracketForm   = errors.New("brackets hold one IPv6 address or CIDR and nothing but :PORTS follows them, as in [2001:db8::/32]:443")
	errWildcard      = errors.New("* stands alone or before the first dot, as in *.example.com")
	errReversed      = errors.New("the range ends before it begins")
)

// ParsePattern parses HOST[:PORTS]. Case and a root dot do not matter. A HOST that
// no target can have (RFC 9110, section 9.3.6), such as the lenient spellings of
// IPv4, is an error, because the pattern could never match.
func ParsePattern(s string) (Pattern, error) {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return Pattern{}, errPatternASCII
		}
	}
	host, ports, bracketed, err := splitPattern(s)
	if err != nil {
		return Pattern{}, err
	}
	p, err := parsePatternHost(host)
	if err != nil {
		return Pattern{}, err
	}
	if bracketed && !p.prefix.Addr().Is6() {
		return Pattern{}, errBracketForm
	}
	if ports != nil {
		if p.ports, err = parsePorts(*ports); err != nil {
			return Pattern{}, err
		}
	}
	p.text = p.format()
	return p, nil
}

// splitPattern splits s into the host, without its brackets, and the ports, which
// are nil if no colon precedes them.
func splitPattern(s string) (host string, ports *string, bracketed bool, err error) {
	if s == "" {
		return "", nil, false, errNoPattern
	}
	if strings.Contains(s, "://") {
		return "", nil, false, errPatternURL
	}
	if inner, ok := strings.CutPrefix(s, "["); ok {
		host, rest, closed := strings.Cut(inner, "]")
		after, colon := strings.CutPrefix(rest, ":")
		switch {
		case !closed, rest != "" && !colon:
			return "", nil, true, errBracketForm
		case colon:
			return host, &after, true, nil
		}
		return host, nil, true, nil
	}
	if strings.Count(s, ":") > 1 {
		return s, nil, false, nil
	}
	host, after, colon := strings.Cut(s, ":")
	if colon {
		return host, &after, false, nil
	}
	return host, nil, false, nil
}

func parsePatternHost(host string) (Pattern, error) {
	if host == "" {
		return Pattern{}, tunnel.ErrEmptyHost
	}
	if host == "*" {
		return Pattern{kind: patternAny}, nil
	}
	if strings.ContainsAny(host, ":/") {
		prefix, err := ParseNetwork(host)
		if err != nil {
			return Pattern{}, err
		}
		return Pattern{kind: patternPrefix, prefix: prefix}, nil
	}
	kind, name := patternName, host
	if rest, ok := strings.CutPrefix(host, "*."); ok {
		kind, name = patternSubdomains, rest
	} else if rest, ok := strings.CutPrefix(host, "."); ok {
		kind, name = patternDomain, rest
	}
	if strings.Contains(name, "*") {
		return Pattern{}, fmt.Errorf("host %q: %w", host, errWildcard)
	}
	name, addr, err := tunnel.ParseHost(name)
	switch {
	case err != nil:
		return Pattern{}, fmt.Errorf("host %q: %w", host, err)
	case !addr.IsValid() && kind == patternName:
		return Pattern{kind: kind, host: name}, nil
	case !addr.IsValid():
		return Pattern{kind: kind, host: "." + name}, nil
	case kind == patternName:
		return Pattern{kind: patternPrefix, prefix: netip.PrefixFrom(addr, addr.BitLen())}, nil
	}
	return Pattern{}, fmt.Errorf("host %q: an address has no subdomains", host)
}

// ParseNetwork parses an address or a CIDR without brackets. It refuses misleading
// forms: a CIDR with host bits set, and the IPv4-mapped form, which this package
// takes for IPv4 (RFC 4291, section 2.5.5.2).
func ParseNetwork(s string) (netip.Prefix, error) {
	if strings.Contains(s, "%") {
		return netip.Prefix{}, fmt.Errorf("%q: %w", s, tunnel.ErrZone)
	}
	var prefix netip.Prefix
	var err error
	if strings.Contains(s, "/") {
		prefix, err = netip.ParsePrefix(s)
	} else {
		var addr netip.Addr
		addr, err = netip.ParseAddr(s)
		prefix = netip.PrefixFrom(addr, addr.BitLen())
	}
	switch {
	case err != nil && strings.Count(s, ":") > 1:
		return netip.Prefix{}, fmt.Errorf("%q is no IPv6 address or CIDR: %w", s, errPatternColons)
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("%q is no address or CIDR, as in 192.0.2.1 or 192.0.2.0/24", s)
	case prefix.Addr().Is4In6() && prefix.Bits() >= 96:
		v4 := netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
		return netip.Prefix{}, fmt.Errorf("%q is an IPv4 address in IPv6 form: write %s", s, formatPrefix(v4.Masked()))
	case prefix != prefix.Masked():
		return netip.Prefix{}, fmt.Errorf("%q has bits set behind the prefix: write %s, or %s for the one address", s, prefix.Masked(), prefix.Addr())
	}
	return prefix, nil
}

// formatPrefix formats a CIDR of one address as that address.
func formatPrefix(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// String returns the pattern in its canonical form, which ParsePattern accepts.
func (p Pattern) String() string { return p.text }

func (p Pattern) format() string {
	host := p.formatHost()
	if p.ports == nil {
		return host
	}
	if p.kind == patternPrefix && p.prefix.Addr().Is6() {
		host = "[" + host + "]"
	}
	return host + ":" + p.ports.join(",")
}

func (p Pattern) formatHost() string {
	switch p.kind {
	case patternAny:
		return "*"
	case patternSubdomains:
		return "*" + p.host
	case patternPrefix:
		return formatPrefix(p.prefix)
	}
	return p.host
}

// Match reports whether the pattern covers a. A pattern without PORTS covers
// every port. An IPv4-mapped literal is matched as the IPv4 address it stands for.
func (p Pattern) Match(a tunnel.Authority) bool { return p.match(a, allPorts) }

// match is Match with the ports of a pattern that names none.
func (p Pattern) match(a tunnel.Authority, ports portSet) bool {
	return !a.IsZero() && p.matchHost(a) && p.portsOr(ports).contains(a.Port())
}

func (p Pattern) matchHost(a tunnel.Authority) bool {
	switch p.kind {
	case patternAny:
		return true
	case patternName:
		return a.Host() == p.host
	case patternSubdomains:
		return strings.HasSuffix(a.Host(), p.host)
	case patternDomain:
		return strings.HasSuffix(a.Host(), p.host) || a.Host() == p.host[1:]
	case patternPrefix:
		return p.prefix.Contains(a.Addr().Unmap())
	}
	return false
}

func (p Pattern) portsOr(ports portSet) portSet {
	if p.ports != nil {
		return p.ports
	}
	return ports
}

// portSet is a set of ports: ranges in the order in which they were written.
type portSet []portRange

type portRange struct{ first, last uint16 }

var (
	defaultPorts = portSet{{22, 22}, {80, 80}, {443, 443}}
	allPorts     = portSet{{1, 65535}}
)

func parsePorts(s string) (portSet, error) {
	if s == "*" {
		return allPorts, nil
	}
	var set portSet
	for item := range strings.SplitSeq(s, ",") {
		from, to, isRange := strings.Cut(item, "-")
		first, err := tunnel.ParsePort(from)
		if err != nil {
			return nil, badPorts(item, err)
		}
		last := first
		if isRange {
			if last, err = tunnel.ParsePort(to); err != nil {
				return nil, badPorts(item, err)
			}
		}
		if last < first {
			return nil, badPorts(item, errReversed)
		}
		set = append(set, portRange{first, last})
	}
	return set, nil
}

func badPorts(item string, err error) error {
	return fmt.Errorf("ports %q: %w; want 443, 22,443, 8000-8999 or *", item, err)
}

func (s portSet) contains(port uint16) bool {
	for _, r := range s {
		if port >= r.first && port <= r.last {
			return true
		}
	}
	return false
}

// isAll reports whether s is one range of all ports.
func (s portSet) isAll() bool { return len(s) == 1 && s[0] == allPorts[0] }

func (s portSet) join(separator string) string {
	if s.isAll() {
		return "*"
	}
	items := make([]string, len(s))
	for i, r := range s {
		items[i] = strconv.Itoa(int(r.first))
		if r.last != r.first {
			items[i] += "-" + strconv.Itoa(int(r.last))
		}
	}
	return strings.Join(items, separator)
}
