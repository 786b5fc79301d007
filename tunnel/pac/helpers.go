package pac

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// helper is one function that scripts may call. It has at least least
// arguments: those that a script leaves out are "undefined", as JavaScript
// makes a text of them.
type helper struct {
	least int
	call  func(r *run, args []string) (any, error)
}

// helpers are all of those that need Go; shExpMatch is in the prelude. A nil
// result is JavaScript's null.
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

// call is a script's call of a helper.
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

// isPlainHostName says that a name has no domain. An IPv6 literal has colons,
// and is no name.
func isPlainHostName(host string) bool { return !strings.ContainsAny(host, ".:") }

// localHostOrDomainIs is for the name with its domain, and for the name alone.
func localHostOrDomainIs(host, full string) bool {
	return host == full || strings.HasPrefix(full, host+".")
}

// parseQuad reads four decimal numbers of up to three digits. Leading zeros
// mean nothing, as in the browsers' own reading of a mask.
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

// convertAddr makes a number of a dotted quad, with JavaScript's sign: its
// operators for bits work on 32 of them. What is no number counts as zero.
func convertAddr(s string) int {
	var n uint32
	parts := strings.Split(s, ".")
	for i := range 4 {
		var part uint64
		if i < len(parts) {
			part, _ = strconv.ParseUint(parts[i], 10, 32) // 0 if it is none
		}
		n = n<<8 | uint32(part&0xff)
	}
	return int(int32(n))
}

// resolve4 returns a name's first IPv4 address as a text, or nil: scripts that
// know of IPv6 call dnsResolveEx.
func (r *run) resolve4(host string) any {
	if _, ok := parseQuad(host); ok {
		return host
	}
	if addrs := r.lookup("ip4", host); len(addrs) > 0 {
		return addrs[0].String()
	}
	return nil
}

// isInNet compares the bits of an address, or of a name's first one, that a
// mask tells.
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

// myIPAddress is an IPv4 address, as scripts compare it with masks: loopback if
// there is no other.
func (r *run) myIPAddress() string {
	for _, a := range r.addresses() {
		if a.Unmap().Is4() {
			return a.Unmap().String()
		}
	}
	return "127.0.0.1"
}

// joinAddrs is the list that the Ex functions return, "" for none.
func joinAddrs(addrs []netip.Addr) string {
	texts := make([]string, len(addrs))
	for i, a := range addrs {
		texts[i] = a.String()
	}
	return strings.Join(texts, ";")
}

// isInNetEx takes an address, no name, and a prefix of the same version.
func isInNetEx(host, prefix string) bool {
	addr, err1 := netip.ParseAddr(strings.TrimSpace(host))
	p, err2 := netip.ParsePrefix(strings.TrimSpace(prefix))
	return err1 == nil && err2 == nil && p.Contains(addr)
}

// sortIPAddressList puts IPv6 before IPv4 and smaller before larger. A list with
// anything else in it gives false, as an empty one does.
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
