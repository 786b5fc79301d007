// Package resolve looks up the addresses of names. It asks for those of IPv4 and of
// IPv6 apart, so that the answer for one can be used while the other is still awaited
// (RFC 8305, section 3), and it shows the caller each name that the search list makes
// of a short one before that is asked for.
//
// On Linux the look-ups are package net's own, in Go: they hold no thread, and end as
// soon as nobody waits for them. Elsewhere the system makes them, since only it knows
// which name server a VPN has for which names.
//
// Package resolve imports no other package of this module.
package resolve

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"time"

	"culvert/tunnel/internal/panics"
)

// Source looks up addresses; *net.Resolver is one. The network is "ip", "ip4" or "ip6".
type Source interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Resolver resolves names as this system does. The zero Resolver is ready to use. Its
// methods are safe for concurrent use.
type Resolver struct {
	// Hold is called before a look-up opens a descriptor, and release when that is
	// closed. Its error ends the look-up, and is returned as it is. nil = descriptors
	// are not counted. On systems that make the look-ups themselves it is not called.
	Hold func() (release func(), err error)

	// Source answers for one IP version at a time; nil = the system.
	Source Source

	// Search returns the names that the search list makes of a name; nil = those of
	// the system.
	Search func(name string) []string

	// PrefersIPv6 reports whether an IPv6 address should be tried before IPv4; nil =
	// as the system's routes and addresses say.
	PrefersIPv6 func(netip.Addr) bool
}

// System resolves names as this system does.
var System = &Resolver{}

// ErrNoAddress is the error for a name that exists and has no address of the IP
// version that was asked for. Errors of look-ups wrap it.
var ErrNoAddress = errors.New("no address")

const (
	// resolutionDelay is how long an answer waits for the one of the preferred IP
	// version (RFC 8305, section 3: "Resolution Delay").
	resolutionDelay = 50 * time.Millisecond

	// absentDelay is how long A is awaited after AAAA was answered with NXDOMAIN.
	// That should be true of the whole name (RFC 8020, section 2), but there are
	// servers that answer so for want of AAAA alone (RFC 4074, section 4.2).
	absentDelay = 2 * time.Second

	// maxAddrs is how many addresses of an answer are used.
	maxAddrs = 32
)

// Answer is the answer for one IP version: addresses, or an error.
type Answer struct {
	Addrs []netip.Addr
	Err   error
	v6    bool
}

// Found is what a look-up has found so far.
type Found struct {
	// Name is the full name, without the root dot, if the search list made one of
	// the name that was asked for; "" = that one was looked up as it stands.
	Name string

	// Addrs are addresses to begin with, in the order in which they should be tried.
	Addrs []netip.Addr

	// Late gets one more answer, for the other IP version; nil = all are in Addrs.
	// LateIPv4 says that it is IPv4's.
	Late     <-chan Answer
	LateIPv4 bool

	cancel context.CancelFunc
}

// Close ends the look-up that may still be under way.
func (f *Found) Close() {
	if f.cancel != nil {
		f.cancel()
	}
}

// Find looks up a name. A name with a dot is looked up as it stands. One without is
// looked for in the hosts file, and then under each name that the search list makes of
// it, in the system's order. judge is called with each of these before it is asked for,
// and an error of it ends the look-up; nil = every name passes. The caller closes what
// Find returns.
func (r *Resolver) Find(ctx context.Context, network, name string, judge func(full string) error) (*Found, error) {
	if strings.Contains(name, ".") {
		return r.apart(ctx, r.source(), network, rooted(name))
	}
	if judge == nil && r.Source == nil && runtime.GOOS != "linux" {
		return r.apart(ctx, r.source(), network, name) // the system completes it, and by more than DNS
	}
	if f, err := r.apart(ctx, r.hosts(), network, name); err == nil {
		return f, nil
	}
	var failed error // of a name server, and not that there is no such name
	for _, full := range r.names(name) {
		if full != name && judge != nil {
			if err := judge(full); err != nil {
				return nil, err
			}
		}
		f, err := r.apart(ctx, r.source(), network, full+".")
		var dns *net.DNSError
		switch {
		case err == nil:
			if full != name {
				f.Name = full
			}
			return f, nil
		case IsAbsent(err), errors.Is(err, ErrNoAddress):
		case !errors.As(err, &dns), dns.IsTimeout, ctx.Err() != nil:
			return nil, err // what lies behind it in the list may be another host
		case failed == nil:
			failed = err
		}
	}
	if failed == nil {
		failed = &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return nil, failed
}

// LookupNetIP implements Source: it returns the addresses to begin with.
func (r *Resolver) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	f, err := r.Find(ctx, network, host, nil)
	if err != nil {
		return nil, err
	}
	f.Close()
	return f.Addrs, nil
}

// names returns the full names to look up for a name without a dot, in order.
func (r *Resolver) names(name string) []string {
	if r.Search != nil {
		return r.Search(name)
	}
	list := systemSearch()
	full := make([]string, 0, len(list.domains)+1)
	if list.ndots == 0 {
		full = append(full, name)
	}
	for _, domain := range list.domains {
		if domain = strings.Trim(domain, "."); domain != "" {
			full = append(full, name+"."+strings.ToLower(domain))
		}
	}
	if list.ndots > 0 {
		full = append(full, name)
	}
	return full
}

// HasSearchList reports whether the system has domains for its search list.
func (r *Resolver) HasSearchList() bool {
	if r.Search != nil {
		return len(r.Search("a")) > 1
	}
	return len(systemSearch().domains) > 0
}

func (r *Resolver) source() Source {
	if r.Source != nil {
		return r.Source
	}
	return system{r}
}

// errNoDNS ends a look-up that only the hosts file should answer.
var errNoDNS = errors.New("not by DNS")

// hosts returns a source that knows the hosts file only.
func (r *Resolver) hosts() Source {
	if r.Source != nil {
		return nowhere{}
	}
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errNoDNS }}
}

// nowhere is a source that knows no name.
type nowhere struct{}

func (nowhere) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func rooted(name string) string { return strings.TrimSuffix(name, ".") + "." }

// IsAbsent reports whether an error says that a name does not exist.
func IsAbsent(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound && !errors.Is(err, ErrNoAddress)
}

// apart looks up a name, for IPv4 and IPv6 apart if the network is "ip". It returns
// when there is something to begin with, or an error. The caller closes what it
// returns.
func (r *Resolver) apart(ctx context.Context, source Source, network, host string) (*Found, error) {
	ctx, cancel := context.WithCancel(ctx)
	answers := make(chan Answer, 2) // so that a late look-up ends although nobody waits
	ask := func(network string, v6 bool) {
		addrs, err := lookUp(ctx, source, network, host)
		answers <- newAnswer(addrs, err, host, v6)
	}
	if network != "ip" {
		go ask(network, network == "ip6")
	} else {
		go ask("ip4", false)
		go ask("ip6", true)
	}
	f, err := r.begin(ctx, answers, network == "ip")
	if err != nil {
		cancel()
		return nil, err
	}
	if f.cancel = cancel; f.Late == nil {
		cancel()
	}
	return f, nil
}

// lookUp is source.LookupNetIP; a panic is an error.
func lookUp(ctx context.Context, source Source, network, host string) (addrs []netip.Addr, err error) {
	defer panics.Into("a look-up", &err)
	return source.LookupNetIP(ctx, network, host)
}

// newAnswer returns the answer of a source for one IP version. A source may have
// addresses of the other among them.
func newAnswer(addrs []netip.Addr, err error, host string, v6 bool) Answer {
	a := Answer{Err: err, v6: v6}
	for _, addr := range addrs {
		if addr = addr.Unmap(); addr.Is6() == v6 && len(a.Addrs) < maxAddrs && !slices.Contains(a.Addrs, addr) {
			a.Addrs = append(a.Addrs, addr)
		}
	}
	var other *net.AddrError // the hosts file has an address of the other version
	if err == nil && len(a.Addrs) == 0 || errors.As(err, &other) {
		a.Err = &net.DNSError{UnwrapErr: ErrNoAddress, Err: ErrNoAddress.Error(), Name: host, IsNotFound: true}
	}
	return a
}

// begin waits for answers until there is something to begin with.
func (r *Resolver) begin(ctx context.Context, answers chan Answer, both bool) (*Found, error) {
	var timer <-chan time.Time
	var first *Answer
	for {
		select {
		case <-ctx.Done():
			return nil, &net.DNSError{Err: ctx.Err().Error(), IsTimeout: errors.Is(ctx.Err(), context.DeadlineExceeded)}
		case a := <-answers:
			switch {
			case !both:
				return &Found{Addrs: a.Addrs}, a.Err
			case first != nil:
				return r.merge(*first, a)
			case a.Err == nil && a.v6 && r.prefersIPv6(a.Addrs[0]):
				return &Found{Addrs: a.Addrs, Late: answers, LateIPv4: true}, nil
			}
			first = &a
			switch {
			case a.Err == nil, IsAbsent(a.Err) && !a.v6:
				timer = time.After(resolutionDelay)
			case IsAbsent(a.Err):
				timer = time.After(absentDelay)
			}
		case <-timer:
			if first.Err != nil {
				return nil, first.Err
			}
			return &Found{Addrs: first.Addrs, Late: answers, LateIPv4: first.v6}, nil
		}
	}
}

// merge returns what both answers have found.
func (r *Resolver) merge(a, b Answer) (*Found, error) {
	if a.v6 {
		a, b = b, a
	}
	switch {
	case a.Err != nil && b.Err != nil:
		return nil, worse(a.Err, b.Err)
	case a.Err != nil:
		return &Found{Addrs: b.Addrs}, nil
	case b.Err != nil:
		return &Found{Addrs: a.Addrs}, nil
	case r.prefersIPv6(b.Addrs[0]):
		return &Found{Addrs: append(b.Addrs, a.Addrs...)}, nil
	}
	return &Found{Addrs: append(a.Addrs, b.Addrs...)}, nil
}

// worse returns the error that says most about a name without an address: for IPv4 that
// it does not exist, then a failure to find out, then that it has no address.
func worse(v4, v6 error) error {
	switch {
	case IsAbsent(v4), !errors.Is(v4, ErrNoAddress):
		return v4
	case !IsAbsent(v6) && !errors.Is(v6, ErrNoAddress):
		return v6
	}
	return v4
}
