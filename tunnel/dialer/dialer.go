// Package dialer connects to a target: it resolves the name once, has every address
// judged, and races the addresses that passed (Happy Eyeballs, RFC 8305).
//
// The address that was judged is the address that is dialled: nothing is resolved a
// second time. The package imports nothing of this module but package tunnel and
// packages below it.
package dialer

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/panics"
	"culvert/tunnel/internal/resolve"
	"culvert/tunnel/internal/sock"
)

// Resolver looks up the addresses of names; *net.Resolver is one. The network is
// "ip", "ip4" or "ip6".
type Resolver = resolve.Source

// attemptDelay is the time between the attempts at two addresses (RFC 8305, section
// 5: "Connection Attempt Delay").
const attemptDelay = 250 * time.Millisecond

// lateDelay is how long the addresses of IPv6 are awaited when nothing else is left
// to try. Those of IPv4 are awaited without a bound: few name servers are mute for A.
const lateDelay = 250 * time.Millisecond

// Dialer connects to targets. It resolves a name once, has every address judged, and
// connects to one that passed. The zero Dialer is ready to use. Its methods
// are safe for concurrent use.
type Dialer struct {
	// Resolver looks up names; nil = as the system does. A *resolve.Resolver is asked
	// for both IP versions apart, and its search list for names without a dot.
	Resolver Resolver

	// JudgeName returns the error for a full name that the search list makes of a name
	// without a dot, before that name is asked for; nil = every name passes. With it,
	// another Resolver than the above gets no chance to complete names.
	JudgeName func(full string) *tunnel.Error

	Network string                                                  // "tcp4", "tcp6" or "tcp"; "" = "tcp"
	Timeout time.Duration                                           // for resolving and connecting together; 0 = only the context limits them
	Judge   func(netip.AddrPort) *tunnel.Error                      // the error for an address that must not be dialled; nil = every address passes
	Connect func(context.Context, netip.AddrPort) (net.Conn, error) // nil = connect by TCP; a *tunnel.Error is returned by Dial as it is
	Trace   *Trace                                                  // nil = none
}

// Trace is a set of hooks that a Dialer calls. Each may be nil. Attempt and Attempted
// may be called from several goroutines at once.
type Trace struct {
	Resolving func()                              // before a name is looked up
	Resolved  func(addrs []netip.Addr, err error) // after it
	Completed func(full string)                   // the name was looked up as this full name, by the search list
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
	found, e := d.find(ctx, target)
	if e != nil {
		return nil, netip.AddrPort{}, e
	}
	defer found.Close()
	addrs, e := d.Filter(found.Addrs, target)
	if e != nil && found.Late == nil {
		return nil, netip.AddrPort{}, e
	}
	r := race{d: d, ctx: ctx, target: target, queue: Interleave(addrs), found: found, refused: e}
	conn, ap, err := r.run()
	var refused *tunnel.Error
	switch {
	case err == nil:
		return conn, ap, nil
	case errors.As(err, &refused):
		refused.Target = target
		return nil, ap, refused
	}
	return nil, ap, &tunnel.Error{Phase: tunnel.PhaseConnect, Type: tunnel.DialErrorType(err), Target: target, Detail: neterr.Lack(err), Err: neterr.Plain(err)}
}

// Resolve returns the addresses of the target that are of d's network. A literal is its
// own address. An answer for one IP version waits for the other's only for a moment.
// There is at least one address, or an error.
func (d *Dialer) Resolve(ctx context.Context, target tunnel.Authority) ([]netip.Addr, *tunnel.Error) {
	found, e := d.find(ctx, target)
	if e != nil {
		return nil, e
	}
	defer found.Close()
	if found.LateIPv4 { // for those who have no use for IPv6
		select {
		case late := <-found.Late:
			return append(found.Addrs, late.Addrs...), nil
		case <-time.After(lateDelay):
		case <-ctx.Done():
		}
	}
	return found.Addrs, nil
}

// find looks up the target. The caller closes what it returns.
func (d *Dialer) find(ctx context.Context, target tunnel.Authority) (*resolve.Found, *tunnel.Error) {
	if addr := target.Addr(); addr.IsValid() {
		if !d.wants(addr) {
			return nil, &tunnel.Error{Phase: tunnel.PhaseResolve, Type: tunnel.ErrorDestinationUnroutable, Target: target, Detail: "the address is of the other IP version"}
		}
		return &resolve.Found{Addrs: []netip.Addr{addr}}, nil
	}
	if d.Trace != nil && d.Trace.Resolving != nil {
		d.Trace.Resolving()
	}
	network := map[string]string{"": "ip", "tcp": "ip", "tcp4": "ip4", "tcp6": "ip6"}[d.Network]
	found, err := d.lookUp(ctx, network, target.Host())
	var refused *tunnel.Error
	if errors.As(err, &refused) {
		refused.Target = target
		return nil, refused
	}
	var addrs []netip.Addr
	if err == nil {
		addrs = slices.Clone(found.Addrs)
	}
	if d.Trace != nil && d.Trace.Resolved != nil {
		d.Trace.Resolved(addrs, err)
	}
	if err != nil {
		return nil, d.explained(err, target)
	}
	if d.Trace != nil && d.Trace.Completed != nil && found.Name != "" {
		d.Trace.Completed(found.Name)
	}
	return found, nil
}

// lookUp looks up a name. The caller closes what it returns.
func (d *Dialer) lookUp(ctx context.Context, network, name string) (*resolve.Found, error) {
	var judge func(string) error
	if d.JudgeName != nil {
		judge = func(full string) error {
			if e := d.JudgeName(full); e != nil {
				return e
			}
			return nil
		}
	}
	if r := d.system(); r != nil {
		return r.Find(ctx, network, name, judge)
	}
	if judge != nil || strings.Contains(name, ".") {
		name += "." // so that the resolver's search list makes no other name of the one that was judged
	}
	addrs, err := d.Resolver.LookupNetIP(ctx, network, name)
	addrs = slices.Clone(addrs) // the resolver may still use its slice
	for i, a := range addrs {
		addrs[i] = a.Unmap()
	}
	if err == nil && len(addrs) == 0 {
		err = &net.DNSError{Err: "no address", Name: name, IsNotFound: true}
	}
	return &resolve.Found{Addrs: addrs}, err
}

// system returns the resolver that looks up names as the system does; nil = d has one of
// another kind.
func (d *Dialer) system() *resolve.Resolver {
	if d.Resolver == nil {
		return resolve.System
	}
	r, _ := d.Resolver.(*resolve.Resolver)
	return r
}

// explained returns the Error for an error of a look-up.
func (d *Dialer) explained(err error, target tunnel.Authority) *tunnel.Error {
	e := d.narrowedError(ResolveError(err, target))
	if r := d.system(); e.RCode == "NXDOMAIN" && r != nil && strings.Contains(target.Host(), ".") && r.HasSearchList() {
		e.Detail = cmp.Or(e.Detail, e.Type.Words()) + "; a name with a dot is not completed by the search list"
	}
	return e
}

// narrowedError corrects an error which says that a name does not exist, if d looks
// for one IP version only: the name may have addresses of the other.
func (d *Dialer) narrowedError(e *tunnel.Error) *tunnel.Error {
	var none *net.AddrError // the name is in the hosts file, without such an address
	version := map[string]string{"tcp4": "IPv4", "tcp6": "IPv6"}[d.Network]
	switch {
	case version == "":
	case e.RCode == "NOERROR":
		e.Detail = "the name has no " + version + " address"
	case e.RCode == "NXDOMAIN", errors.As(e.Err, &none):
		e.Detail = "the name does not exist, or has no " + version + " address"
	}
	return e
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
	case errors.Is(err, resolve.ErrNoAddress):
		e.RCode, e.Detail = "NOERROR", "the name has no address"
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
// attemptDelay after the one before or as soon as that one failed. Addresses that come
// late are put among those that are left. The first conn wins. The other attempts are
// cancelled; if one connects all the same, its conn is closed.
type race struct {
	d      *Dialer
	ctx    context.Context
	target tunnel.Authority
	queue  []netip.Addr // to be tried
	found  *resolve.Found

	results chan attempt
	pending int           // attempts under way
	failed  attempt       // the attempt whose error is told
	refused *tunnel.Error // why an address was not tried; nil = none was refused
}

func (r *race) run() (net.Conn, netip.AddrPort, error) {
	if r.found.Late == nil && len(r.queue) == 1 {
		ap := netip.AddrPortFrom(r.queue[0], r.target.Port())
		conn, err := r.d.connectTo(r.ctx, ap)
		return conn, ap, err
	}
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	r.results = make(chan attempt, 1)
	late := r.found.Late
	timer := time.NewTimer(attemptDelay)
	defer timer.Stop()
	r.start(ctx, timer)
	var enough <-chan time.Time // since nothing is left to try
	for r.pending > 0 || late != nil {
		switch {
		case r.pending > 0 || r.found.LateIPv4:
			enough = nil
		case enough == nil:
			enough = time.After(lateDelay)
		}
		select {
		case <-timer.C:
			r.start(ctx, timer)
		case a := <-r.results:
			r.pending--
			if a.err == nil {
				cancel()
				go closeLate(r.results, r.pending)
				return a.conn, a.ap, nil
			}
			r.note(a)
			if ctx.Err() == nil {
				r.start(ctx, timer)
			}
		case a := <-late:
			late = nil
			r.add(a)
			if r.pending == 0 {
				r.start(ctx, timer)
			}
		case <-enough:
			late = nil
		case <-waits(ctx, r.pending == 0):
			late = nil
		}
	}
	switch {
	case r.failed.err != nil:
		return nil, r.failed.ap, r.failed.err
	case r.refused != nil:
		return nil, netip.AddrPort{}, r.refused
	}
	return nil, netip.AddrPort{}, ctx.Err()
}

// waits returns a channel that is closed when the context ends, if there is nothing
// else that would tell; else nil.
func waits(ctx context.Context, alone bool) <-chan struct{} {
	if alone {
		return ctx.Done()
	}
	return nil
}

// start begins an attempt at the next address, if there is one.
func (r *race) start(ctx context.Context, timer *time.Timer) {
	if len(r.queue) == 0 {
		return
	}
	ap := netip.AddrPortFrom(r.queue[0], r.target.Port())
	r.queue = r.queue[1:]
	r.pending++
	timer.Reset(attemptDelay)
	go func() {
		a := attempt{ap: ap}
		defer func() { r.results <- a }()
		defer panics.Into("an attempt to connect", &a.err)
		a.conn, a.err = r.d.connectTo(ctx, ap)
	}()
}

// add puts late addresses among those that are left, beginning with one of theirs.
func (r *race) add(late resolve.Answer) {
	if late.Err != nil {
		return
	}
	addrs, e := r.d.Filter(late.Addrs, r.target)
	if e != nil {
		r.refused = cmp.Or(r.refused, e)
		return
	}
	r.queue = Interleave(append(addrs, r.queue...))
}

// note keeps the error of the attempt that failed first. One that failed for want of a
// route for its IP version says less than one of the other version.
func (r *race) note(a attempt) {
	if r.failed.err == nil || r.failed.ap.Addr().Is4() != a.ap.Addr().Is4() && tunnel.DialErrorType(r.failed.err) == tunnel.ErrorDestinationUnroutable {
		r.failed = a
	}
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
		connect = sock.Connect
	}
	conn, err := connect(ctx, ap)
	if d.Trace != nil && d.Trace.Attempted != nil {
		d.Trace.Attempted(ap, err)
	}
	return conn, err
}
