package pac

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// helper is one function that scripts may call. It gets at least least arguments: those
// that a script leaves out are "undefined", which is how JavaScript converts them to
// strings.
type helper struct {
	least int
	call  func(r *run, args []string) (any, error)
}

// helpers are the functions that are written in Go; shExpMatch is in the prelude. A nil
// result is null in JavaScript.
var helpers = map[string]helper{
	"alert": {1, func(r *run, a []string) (any, error) { r.alert(a[0]); return nil, nil }},

	"isPlainHostName":     {1, func(_ *run, a []string) (any, error) { return isPlainHostName(a[0]), nil }},
	"dnsDomainIs":         {2, func(_ *run, a []string) (any, error) { return strings.HasSuffix(a[0], a[1]), nil }},
	"localHostOrDomainIs": {2, func(_ *run, a []string) (any, error) { return localHostOrDomainIs(a[0], a[1]), nil }},
	"dnsDomainLevels":     {1, func(_ *run, a []string) (any, error) { return strings.Count(a[0], "."), nil }},

	"convert_addr": {1, func(_ *run, a []string) (any, error) { return convertAddr(a[0]), nil }},
	"isResolvable": {1, func(r *run, a []string) (any, error) { return r.resolve4(a[0]) != nil, nil }},
	"dnsResolve":   {1, func(r *run, a []string) (any, error) { return r.resolve4(a[0]), nil }},
	"isInNet":      {3, func(r *run, a []string) (any, error) { return r.isInNet(a[0], a[1], a[2]), nil }},
	"myIpAddress":  {0, func(r *run, _ []string) (any, error) { return r.myIPAddress(), nil }},

	"isResolvableEx":    {1, func(r *run, a []string) (any, error) { return len(r.lookup("ip", a[0])) > 0, nil }},
	"dnsResolveEx":      {1, func(r *run, a []string) (any, error) { return joinAddrs(r.lookup("ip", a[0])), nil }},
	"isInNetEx":         {2, func(_ *run, a []string) (any, error) { return isInNetEx(a[0], a[1]), nil }},
	"myIpAddressEx":     {0, func(r *run, _ []string) (any, error) { return joinAddrs(r.addresses()), nil }},
	"sortIpAddressList": {1, func(_ *run, a []string) (any, error) { return sortIPAddressList(a[0]), nil }},
	"getClientVersion":  {0, func(*run, []string) (any, error) { return "1.0", nil }},

	"weekdayRange": {0, func(r *run, a []string) (any, error) { return weekdayRange(r.now(), a), nil }},
	"dateRange":    {0, func(r *run, a []string) (any, error) { return dateRange(r.now(), a), nil }},
	"timeRange":    {0, func(r *run, a []string) (any, error) { return timeRange(r.now(), a) }},
}

// call calls a helper for a script.
func (r *run) call(name string, args []string) (any, error) {
	h, ok := helpers[name]
	if !ok || len(args) < h.least {
		return nil, fmt.Errorf("%s cannot be called", name)
	}
	if err := r.ctx.Err(); err != nil {
		return nil, err
	}
	return h.call(r, args)
}

// isPlainHostName reports whether host is a name without a domain. An IPv6 literal has
// colons, and is not a name.
func isPlainHostName(host string) bool { return !strings.ContainsAny(host, ".:") }

// localHostOrDomainIs reports whether host is the full name, or that without its domain.
func localHostOrDomainIs(host, full string) bool {
	return host == full || strings.HasPrefix(full, host+".")
}

// parseQuad parses four decimal numbers of up to three digits. Leading zeros are
// ignored, as browsers do in a mask.
func parseQuad(s string) (quad [4]byte, ok bool) {
	parts := strings.Split(s, ".")
	if len(parts) != 4 {
		return quad, false
	}
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 8)
		if err != nil || len(part) > 3 {
			return quad, false
		}
		quad[i] = byte(n)
	}
	return quad, true
}

// convertAddr converts a dotted quad to a number, which is signed as in JavaScript, whose
// bit operators work on 32 bits. A part that is not a number counts as 0.
func convertAddr(s string) int {
	var n uint32
	parts := strings.Split(s, ".")
	for i := range 4 {
		var part uint64
		if i < len(parts) {
			part, _ = strconv.ParseUint(parts[i], 10, 32) // 0 if it is not a number
		}
		n = n<<8 | uint32(part&0xff)
	}
	return int(int32(n))
}

// resolve4 returns the first IPv4 address of a name as a string, or nil. Scripts that
// support IPv6 call dnsResolveEx.
func (r *run) resolve4(host string) any {
	if _, ok := parseQuad(host); ok {
		return host
	}
	if addrs := r.lookup("ip4", host); len(addrs) > 0 {
		return addrs[0].String()
	}
	return nil
}

// isInNet compares the bits of the mask in the pattern and in an address, which is host
// or the first address of that name.
func (r *run) isInNet(host, pattern, mask string) bool {
	want, ok1 := parseQuad(pattern)
	bits, ok2 := parseQuad(mask)
	if !ok1 || !ok2 {
		return false
	}
	text, ok := r.resolve4(host).(string)
	if !ok {
		return false
	}
	have, ok := parseQuad(text)
	for i := range have {
		ok = ok && have[i]&bits[i] == want[i]&bits[i]
	}
	return ok
}

// myIPAddress returns an IPv4 address, as scripts compare it with masks: loopback if
// there is no other.
func (r *run) myIPAddress() string {
	for _, a := range r.addresses() {
		if a.Unmap().Is4() {
			return a.Unmap().String()
		}
	}
	return "127.0.0.1"
}

// joinAddrs returns the list in the form of the Ex functions; it is "" if empty.
func joinAddrs(addrs []netip.Addr) string {
	texts := make([]string, len(addrs))
	for i, a := range addrs {
		texts[i] = a.String()
	}
	return strings.Join(texts, ";")
}

// isInNetEx reports whether an address is in a prefix of the same IP version. A name is
// in none.
func isInNetEx(host, prefix string) bool {
	addr, err1 := netip.ParseAddr(strings.TrimSpace(host))
	p, err2 := netip.ParsePrefix(strings.TrimSpace(prefix))
	return err1 == nil && err2 == nil && p.Contains(addr)
}

// sortIPAddressList sorts IPv6 before IPv4 and smaller addresses before larger ones. It
// returns false for a list that is empty or contains anything else.
func sortIPAddressList(list string) any {
	var addrs []netip.Addr
	for text := range strings.SplitSeq(list, ";") {
		a, err := netip.ParseAddr(strings.TrimSpace(text))
		if err != nil {
			return false
		}
		addrs = append(addrs, a)
	}
	sortAddrs(addrs)
	return joinAddrs(addrs)
}

// sortAddrs sorts IPv6 before IPv4 and smaller addresses before larger ones.
func sortAddrs(addrs []netip.Addr) {
	slices.SortStableFunc(addrs, func(a, b netip.Addr) int {
		if a.BitLen() != b.BitLen() {
			return b.BitLen() - a.BitLen()
		}
		return a.Compare(b)
	})
}
