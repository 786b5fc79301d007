// Package dialer connects to a target: it resolves the name once, has every address
// judged, and races the addresses that passed (Happy Eyeballs, RFC 8305).
//
// The address that was judged is the address that is dialled: nothing is resolved a
// second time. The package imports nothing of this module but package tunnel and
// packages below it.
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

// Resolver looks up the addresses of names; *net.Resolver is one. The network is
// "ip", "ip4" or "ip6".
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// attemptDelay is the time between the attempts at two addresses (RFC 8305, section
// 5: "Connection Attempt Delay").
const attemptDelay = 250 * time.Millisecond

// Dialer connects to targets. It resolves a name once, has every address judged, and
// connects to one that passed. The zero Dialer is ready to use. Its methods
// are safe for concurrent use.
type Dialer struct {
	Resolver Resolver                                                // nil = the system's
	Network  string                                                  // "tcp4", "tcp6" or "tcp"; "" = "tcp"
	Timeout  time.Duration                                           // for resolving and connecting together; 0 = only the context limits them
	Judge    func(netip.AddrPort) *tunnel.Error                      // the error for an address that must not be dialled; nil = every address passes
	Connect  func(context.Context, netip.AddrPort) (net.Conn, error) // nil = connect by TCP; a *tunnel.Error is returned by Dial as it is
	Trace    *Trace                                                  // nil = none
}

// Trace is a set of hooks that a Dialer calls. Each may be nil. Attempt and Attempted
// may be called from several goroutines at once.
type Trace struct {
	Resolving func()                              // before a name is looked up
	Resolved  func(addrs []netip.Addr, err error) // after it
	Attempt   func(netip.AddrPort)                // before an attempt to connect
	Attempted func(netip.AddrPort, error)         // after it
}

// Dial connects to the target and returns the conn, which the caller closes, and the
// address dialled. The context covers resolving and connecting only. If no address
// could be connected to, the address and the error are those of the attempt that
// failed first.
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
	var refused *tunnel.Error
	if errors.As(err, &refused) {
		refused.Target = target
		return nil, ap, refused
	}
	if err != nil {
		return nil, ap, &tunnel.Error{Phase: tunnel.PhaseConnect, Type: tunnel.DialErrorType(err), Target: target, Err: neterr.Plain(err)}
	}
	return conn, ap, nil
}

// Resolve returns the addresses of the target that are of d's network. A literal is
// its own address. There is at least one address, or an error.
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
	addrs = slices.Clone(addrs) // the resolver may still use its slice
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

// narrowedError corrects an error which says that a name does not exist, if d looks
// for one IP version only: the name may have addresses of the other.
func (d *Dialer) narrowedError(e *tunnel.Error) *tunnel.Error {
	var none *net.AddrError // the name is in the hosts file, without such an address
	version := map[string]string{"tcp4": "IPv4", "tcp6": "IPv6"}[d.Network]
	if version != "" && (e.RCode == "NXDOMAIN" || errors.As(e.Err, &none)) {
		e.Detail = "the name does not exist, or has no " + version + " address"
	}
	return e
}

// searchless adds the root dot to a name, so that the resolver looks up the name that
// was judged and does not append a domain of its search list. A name without any dot
// is left as it is: it can only be resolved by /etc/hosts or the search list.
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

// ResolveError returns the Error for an error of resolving the target's name. Its
// RCode is the DNS response code, as far as the resolver tells it.
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

// Filter returns the addresses that d.Judge lets pass, in the same order. It reuses
// addrs. If none passes, the error is the one for the first address.
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

// Interleave returns addrs in an order in which the families of addresses alternate,
// beginning with that of the first address (RFC 8305, section 4).
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

// attempt is the outcome of an attempt to connect to one address.
type attempt struct {
	conn net.Conn
	ap   netip.AddrPort
	err  error
}

// race is Happy Eyeballs (RFC 8305, section 5). It tries the addresses in order, each
// attemptDelay after the one before or as soon as that one failed. The first conn
// wins. The other attempts are cancelled; if one connects all the same, its conn is
// closed.
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

// closeLate closes the conns of attempts that connected after the race was won.
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
