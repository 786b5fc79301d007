package dialer

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/sock"
)

// Resolver turns names into addresses; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// attemptDelay is how long one address is tried alone before the next joins
// (RFC 8305, section 5: "Connection Attempt Delay").
const attemptDelay = 250 * time.Millisecond

// Dialer resolves a name once, judges every address, and connects to one that
// passed: the address judged is the address dialled (RULES 20).
type Dialer struct {
	Resolver Resolver                                                // nil: the system's
	Network  string                                                  // "tcp4", "tcp6"; "" = both
	Timeout  time.Duration                                           // for resolving and connecting together; 0 = the context's
	Judge    func(netip.AddrPort) *tunnel.Error                      // nil: every address passes
	Connect  func(context.Context, netip.AddrPort) (net.Conn, error) // nil: TCP
	Trace    *Trace                                                  // nil: nobody watches
}

// Trace watches a dialer; unset hooks are skipped. Hooks for attempts may
// be called from several goroutines at once.
type Trace struct {
	Resolving func()
	Resolved  func(addrs []netip.Addr, err error)
	Attempt   func(netip.AddrPort)
	Attempted func(netip.AddrPort, error)
}

// Dial connects to the target; the caller owns and closes the conn. The
// context covers resolving and connecting only.
func (d *Dialer) Dial(ctx context.Context, target tunnel.Authority) (net.Conn, netip.AddrPort, *tunnel.Error) {
	if d.Timeout > 0 {
		late := WithLazyTimeout(ctx, d.Timeout)
		defer late.Release()
		ctx = late
	}
	addrs, e := d.Resolve(ctx, target)
	if e != nil {
		return nil, netip.AddrPort{}, e
	}
	addrs, e = d.Filter(addrs, target)
	if e != nil {
		return nil, netip.AddrPort{}, e
	}
	conn, ap, err := d.race(ctx, Interleave(addrs), target.Port())
	if err != nil {
		return nil, ap, &tunnel.Error{Phase: tunnel.PhaseConnect, Type: tunnel.DialErrorType(err), Target: target, Err: neterr.Plain(err)}
	}
	return conn, ap, nil
}

// Resolve returns the target's addresses of the wanted family.
func (d *Dialer) Resolve(ctx context.Context, target tunnel.Authority) ([]netip.Addr, *tunnel.Error) {
	if addr := target.Addr(); addr.IsValid() {
		if !d.wants(addr) {
			return nil, &tunnel.Error{Phase: tunnel.PhaseResolve, Type: tunnel.ErrorDestinationUnroutable, Target: target, Detail: "the address is of the other IP version"}
		}
		return []netip.Addr{addr}, nil
	}
	var r Resolver = net.DefaultResolver
	if d.Resolver != nil {
		r = d.Resolver
	}
	network := map[string]string{"": "ip", "tcp": "ip", "tcp4": "ip4", "tcp6": "ip6"}[d.Network]
	if d.Trace != nil && d.Trace.Resolving != nil {
		d.Trace.Resolving()
	}
	addrs, err := r.LookupNetIP(ctx, network, searchless(target.Host()))
	addrs = slices.Clone(addrs) // the resolver may keep its own
	for i, a := range addrs {
		addrs[i] = a.Unmap()
	}
	if d.Trace != nil && d.Trace.Resolved != nil {
		d.Trace.Resolved(addrs, err)
	}
	if err == nil && len(addrs) == 0 {
		err = &net.DNSError{Err: "no address", Name: target.Host(), IsNotFound: true}
	}
	if err != nil {
		return nil, d.narrowedError(ResolveError(err, target))
	}
	return addrs, nil
}

// narrowedError does not say that a name does not exist that may have addresses
// of the IP version that was not asked for.
func (d *Dialer) narrowedError(e *tunnel.Error) *tunnel.Error {
	var none *net.AddrError // the name is in the hosts file, without such an address
	version := map[string]string{"tcp4": "IPv4", "tcp6": "IPv6"}[d.Network]
	if version != "" && (e.RCode == "NXDOMAIN" || errors.As(e.Err, &none)) {
		e.Detail = "the name does not exist, or has no " + version + " address"
	}
	return e
}

// searchless adds the root dot, so that the name that was judged is the name
// that is asked for and not one that the resolver's search list makes of it.
// A name without any dot, from /etc/hosts or the search list, has no other way
// to resolve.
func searchless(name string) string {
	if strings.Contains(name, ".") {
		return name + "."
	}
	return name
}

func (d *Dialer) wants(addr netip.Addr) bool {
	switch d.Network {
	case "tcp4":
		return addr.Unmap().Is4()
	case "tcp6":
		return addr.Is6() && !addr.Is4In6()
	}
	return true
}

// ResolveError carries the DNS response code where the resolver tells it.
func ResolveError(err error, target tunnel.Authority) *tunnel.Error {
	e := &tunnel.Error{Phase: tunnel.PhaseResolve, Type: tunnel.ErrorDNS, Target: target, Err: neterr.Plain(err)}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		e.Err = errors.New(dns.Err) // the name stands in Target, without the root dot
	}
	switch {
	case neterr.Timeout(err), errors.As(err, &dns) && dns.IsTimeout:
		e.Type = tunnel.ErrorDNSTimeout
	case errors.As(err, &dns) && dns.IsNotFound:
		e.RCode, e.Detail = "NXDOMAIN", "the name does not exist"
	case errors.As(err, &dns) && dns.IsTemporary:
		e.RCode, e.Detail = "SERVFAIL", "the name server could not answer"
	}
	return e
}

// Judged keeps the addresses that pass; if none does, the first refusal is the
// error.
func (d *Dialer) Filter(addrs []netip.Addr, target tunnel.Authority) ([]netip.Addr, *tunnel.Error) {
	if d.Judge == nil {
		return addrs, nil
	}
	var refused *tunnel.Error
	passed := addrs[:0]
	for _, a := range addrs {
		e := d.Judge(netip.AddrPortFrom(a, target.Port()))
		if e == nil {
			passed = append(passed, a)
		} else if refused == nil {
			refused = e
		}
	}
	if len(passed) == 0 {
		refused.Target = target
		return nil, refused
	}
	return passed, nil
}

// Interleave alternates the families, the first address's family first (RFC
// 8305, section 4).
func Interleave(addrs []netip.Addr) []netip.Addr {
	if len(addrs) < 2 {
		return addrs
	}
	var same, other []netip.Addr
	for _, a := range addrs {
		if a.Is4() == addrs[0].Is4() {
			same = append(same, a)
		} else {
			other = append(other, a)
		}
	}
	mixed := make([]netip.Addr, 0, len(addrs))
	for i := range max(len(same), len(other)) {
		if i < len(same) {
			mixed = append(mixed, same[i])
		}
		if i < len(other) {
			mixed = append(mixed, other[i])
		}
	}
	return mixed
}

// attempt is one address's outcome.
type attempt struct {
	conn net.Conn
	ap   netip.AddrPort
	err  error
}

// race is Happy Eyeballs (RFC 8305, section 5): the addresses are tried in
// order, each attemptDelay after the one before or as soon as that failed, and
// the first conn wins. Every attempt has ended when race returns, save those
// that were cancelled, whose conns are closed as they come in.
func (d *Dialer) race(ctx context.Context, addrs []netip.Addr, port uint16) (net.Conn, netip.AddrPort, error) {
	if len(addrs) == 1 {
		ap := netip.AddrPortFrom(addrs[0], port)
		conn, err := d.connectTo(ctx, ap)
		return conn, ap, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan attempt, len(addrs))
	next, pending := 0, 0
	start := func() {
		ap := netip.AddrPortFrom(addrs[next], port)
		next, pending = next+1, pending+1
		go func() {
			conn, err := d.connectTo(ctx, ap)
			results <- attempt{conn, ap, err}
		}()
	}
	timer := time.NewTimer(attemptDelay)
	defer timer.Stop()
	var first attempt
	for start(); pending > 0; {
		select {
		case <-timer.C:
			if next < len(addrs) {
				start()
				timer.Reset(attemptDelay)
			}
		case r := <-results:
			pending--
			if r.err == nil {
				cancel()
				go closeLate(results, pending)
				return r.conn, r.ap, nil
			}
			if first.err == nil {
				first = r
			}
			if next < len(addrs) && ctx.Err() == nil {
				start()
				timer.Reset(attemptDelay)
			}
		}
	}
	return nil, first.ap, first.err
}

// closeLate closes what still connected after the race was won.
func closeLate(results <-chan attempt, pending int) {
	for range pending {
		if r := <-results; r.conn != nil {
			r.conn.Close()
		}
	}
}

func (d *Dialer) connectTo(ctx context.Context, ap netip.AddrPort) (net.Conn, error) {
	if d.Trace != nil && d.Trace.Attempt != nil {
		d.Trace.Attempt(ap)
	}
	connect := d.Connect
	if connect == nil {
		connect = sock.Dial
	}
	conn, err := connect(ctx, ap)
	if d.Trace != nil && d.Trace.Attempted != nil {
		d.Trace.Attempted(ap, err)
	}
	return conn, err
}
