package dialer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/internal/resolve"
	"culvert/tunnel/internal/testkit"
)

// never is the delay of an address that does not answer.
const never = 1000 * time.Hour

// dialOutcome is the outcome of an attempt: after a delay the error, or a conn if it is
// nil.
type dialOutcome struct {
	after time.Duration
	err   error
}

// fakeNetwork is a network for a Dialer that has an outcome for every address.
type fakeNetwork struct {
	start    time.Time
	outcomes map[string]dialOutcome

	mu     sync.Mutex
	tried  []string // "ADDRESS at TIME"
	closed []string
}

func (n *fakeNetwork) connect(ctx context.Context, ap netip.AddrPort) (net.Conn, error) {
	addr := ap.Addr().String()
	n.mu.Lock()
	n.tried = append(n.tried, fmt.Sprint(addr, " at ", time.Since(n.start)))
	n.mu.Unlock()
	o := n.outcomes[addr]
	timer := time.NewTimer(o.after)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		if o.err != errStubborn {
			return nil, ctx.Err()
		}
		<-timer.C // connected although it was cancelled
		return &fakeConn{network: n, addr: addr}, nil
	}
	if o.err != nil && o.err != errStubborn {
		return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", o.err)}
	}
	return &fakeConn{network: n, addr: addr}, nil
}

var errStubborn = errors.New("connects although it was cancelled")

type fakeConn struct {
	net.Conn
	network *fakeNetwork
	addr    string
}

func (c *fakeConn) Close() error {
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	c.network.closed = append(c.network.closed, c.addr)
	return nil
}

// RFC 8305, sections 4 and 5.
func TestDialerHappyEyeballs(t *testing.T) {
	refused, unreachable := syscall.ECONNREFUSED, syscall.ENETUNREACH
	for _, tt := range []struct {
		name     string
		addrs    string // as the resolver gives them
		outcomes map[string]dialOutcome
		tried    []string
		won      string // or the error's type
		took     time.Duration
		closed   []string
	}{
		{"the first answers", "2001:db8::1 2001:db8::2 192.0.2.1", nil,
			[]string{"2001:db8::1 at 0s"}, "2001:db8::1", 0, nil},
		{"families take turns, the first one's first", "192.0.2.1 192.0.2.2 2001:db8::1 192.0.2.3 2001:db8::2",
			map[string]dialOutcome{"192.0.2.1": {0, refused}, "192.0.2.2": {0, refused}, "192.0.2.3": {0, refused}, "2001:db8::1": {0, refused}, "2001:db8::2": {0, refused}},
			[]string{"192.0.2.1 at 0s", "2001:db8::1 at 0s", "192.0.2.2 at 0s", "2001:db8::2 at 0s", "192.0.2.3 at 0s"}, "connection_refused", 0, nil},
		{"one that is silent delays the next by 250 ms", "2001:db8::1 192.0.2.1",
			map[string]dialOutcome{"2001:db8::1": {never, nil}},
			[]string{"2001:db8::1 at 0s", "192.0.2.1 at 250ms"}, "192.0.2.1", 250 * time.Millisecond, nil},
		{"one that fails is followed at once", "2001:db8::1 192.0.2.1",
			map[string]dialOutcome{"2001:db8::1": {0, unreachable}},
			[]string{"2001:db8::1 at 0s", "192.0.2.1 at 0s"}, "192.0.2.1", 0, nil},
		{"a failure restarts the delay", "2001:db8::1 192.0.2.1 2001:db8::2",
			map[string]dialOutcome{"2001:db8::1": {100 * time.Millisecond, refused}, "192.0.2.1": {never, nil}},
			[]string{"2001:db8::1 at 0s", "192.0.2.1 at 100ms", "2001:db8::2 at 350ms"}, "2001:db8::2", 350 * time.Millisecond, nil},
		{"the first may still win after the second began", "2001:db8::1 192.0.2.1",
			map[string]dialOutcome{"2001:db8::1": {300 * time.Millisecond, nil}, "192.0.2.1": {never, nil}},
			[]string{"2001:db8::1 at 0s", "192.0.2.1 at 250ms"}, "2001:db8::1", 300 * time.Millisecond, nil},
		{"a conn that comes too late is closed", "2001:db8::1 192.0.2.1",
			map[string]dialOutcome{"2001:db8::1": {time.Second, errStubborn}},
			[]string{"2001:db8::1 at 0s", "192.0.2.1 at 250ms"}, "192.0.2.1", 250 * time.Millisecond, []string{"2001:db8::1"}},
		{"the first error is told", "192.0.2.1 192.0.2.2",
			map[string]dialOutcome{"192.0.2.1": {0, unreachable}, "192.0.2.2": {0, refused}},
			[]string{"192.0.2.1 at 0s", "192.0.2.2 at 0s"}, "destination_ip_unroutable", 0, nil},
		{"all are silent", "192.0.2.1 192.0.2.2 192.0.2.3",
			map[string]dialOutcome{"192.0.2.1": {never, nil}, "192.0.2.2": {never, nil}, "192.0.2.3": {never, nil}},
			[]string{"192.0.2.1 at 0s", "192.0.2.2 at 250ms", "192.0.2.3 at 500ms"}, "connection_timeout", 10 * time.Second, nil},
		{"one alone is silent", "192.0.2.1",
			map[string]dialOutcome{"192.0.2.1": {never, nil}},
			[]string{"192.0.2.1 at 0s"}, "connection_timeout", 10 * time.Second, nil},
		{"mapped addresses are IPv4", "::ffff:192.0.2.1", nil, []string{"192.0.2.1 at 0s"}, "192.0.2.1", 0, nil},
		{"those that do not pass are not tried", "10.0.0.1 192.0.2.1 10.0.0.2 2001:db8::1",
			map[string]dialOutcome{"192.0.2.1": {0, refused}},
			[]string{"192.0.2.1 at 0s", "2001:db8::1 at 0s"}, "2001:db8::1", 0, nil},
		{"none passes", "10.0.0.1 10.0.0.2", nil, nil, "destination_ip_prohibited", 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := &fakeNetwork{start: time.Now(), outcomes: tt.outcomes}
				d := Dialer{Resolver: testkit.ResolveTo(strings.Fields(tt.addrs)...), Timeout: 10 * time.Second, Connect: network.connect, Judge: not10}
				conn, ap, e := d.Dial(context.Background(), testkit.MustAuthority(t, "example.test:443"))
				took := time.Since(network.start)
				won := ap.Addr().String()
				if e != nil {
					won = e.Type.String()
					if conn != nil || e.Target != testkit.MustAuthority(t, "example.test:443") {
						t.Errorf("conn %v beside error %v of target %q", conn, e, e.Target)
					}
				} else if got := conn.(*fakeConn).addr; got != won || ap.Port() != 443 {
					t.Errorf("a conn to %s is told to be one to %v", got, ap)
				}
				time.Sleep(time.Minute) // for what comes too late
				network.mu.Lock()
				defer network.mu.Unlock()
				if won != tt.won || took != tt.took || !slices.Equal(network.tried, tt.tried) || !slices.Equal(network.closed, tt.closed) {
					t.Errorf("%s after %v, tried %q, closed %q\nwant %s after %v, tried %q, closed %q",
						won, took, network.tried, network.closed, tt.won, tt.took, tt.tried, tt.closed)
				}
			})
		})
	}
}

// not10 refuses the addresses of 10.0.0.0/8.
func not10(ap netip.AddrPort) *tunnel.Error {
	if netip.MustParsePrefix("10.0.0.0/8").Contains(ap.Addr()) {
		return &tunnel.Error{Phase: tunnel.PhasePolicy, Type: tunnel.ErrorDestinationProhibited, Rule: "not 10"}
	}
	return nil
}

// A cancelled dial leaves no attempt and no conn.
func TestDialerCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := &fakeNetwork{start: time.Now(), outcomes: map[string]dialOutcome{"192.0.2.1": {never, nil}, "192.0.2.2": {never, nil}}}
		d := Dialer{Resolver: testkit.ResolveTo("192.0.2.1", "192.0.2.2"), Connect: network.connect}
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(time.Second, cancel)
		if _, _, e := d.Dial(ctx, testkit.MustAuthority(t, "example.test:443")); e == nil || time.Since(network.start) != time.Second {
			t.Errorf("error %v after %v", e, time.Since(network.start))
		}
	})
}

func TestDialerErrors(t *testing.T) {
	timeout := net.DNSError{Err: "i/o timeout", IsTimeout: true}
	for _, tt := range []struct {
		name    string
		Dialer  Dialer
		target  string
		phase   tunnel.Phase
		errType tunnel.ErrorType
		rcode   string
	}{
		{"no such name", Dialer{Resolver: testkit.FailToResolve(testkit.NoSuchName)}, "a.test:1", tunnel.PhaseResolve, tunnel.ErrorDNS, "NXDOMAIN"},
		{"name server failed", Dialer{Resolver: testkit.FailToResolve(net.DNSError{IsTemporary: true})}, "a.test:1", tunnel.PhaseResolve, tunnel.ErrorDNS, "SERVFAIL"},
		{"name server silent", Dialer{Resolver: testkit.FailToResolve(timeout)}, "a.test:1", tunnel.PhaseResolve, tunnel.ErrorDNSTimeout, ""},
		{"no address", Dialer{Resolver: testkit.ResolveTo()}, "a.test:1", tunnel.PhaseResolve, tunnel.ErrorDNS, "NXDOMAIN"},
		{"refused", Dialer{Connect: fails(syscall.ECONNREFUSED)}, "192.0.2.1:1", tunnel.PhaseConnect, tunnel.ErrorConnectionRefused, ""},
		{"no network", Dialer{Connect: fails(syscall.ENETUNREACH)}, "192.0.2.1:1", tunnel.PhaseConnect, tunnel.ErrorDestinationUnroutable, ""},
		{"no host", Dialer{Connect: fails(syscall.EHOSTUNREACH)}, "192.0.2.1:1", tunnel.PhaseConnect, tunnel.ErrorDestinationUnroutable, ""},
		{"the kernel's time-out", Dialer{Connect: fails(syscall.ETIMEDOUT)}, "192.0.2.1:1", tunnel.PhaseConnect, tunnel.ErrorConnectionTimeout, ""},
		{"no descriptor", Dialer{Connect: fails(syscall.EMFILE)}, "192.0.2.1:1", tunnel.PhaseConnect, tunnel.ErrorConnectionLimit, ""},
		{"no local port", Dialer{Connect: fails(syscall.EADDRNOTAVAIL)}, "192.0.2.1:1", tunnel.PhaseConnect, tunnel.ErrorConnectionLimit, ""},
		{"reset", Dialer{Connect: fails(syscall.ECONNRESET)}, "192.0.2.1:1", tunnel.PhaseConnect, tunnel.ErrorDestinationUnavailable, ""},
		{"a literal is judged", Dialer{Judge: not10}, "10.0.0.1:1", tunnel.PhasePolicy, tunnel.ErrorDestinationProhibited, ""},
	} {
		conn, _, e := tt.Dialer.Dial(context.Background(), testkit.MustAuthority(t, tt.target))
		if conn != nil || e == nil || e.Phase != tt.phase || e.Type != tt.errType || e.RCode != tt.rcode {
			t.Errorf("%s: %v, want %v in phase %v with rcode %q", tt.name, e, tt.errType, tt.phase, tt.rcode)
		}
		// The message has the name from Target and must not have it twice.
		if e != nil && e.Err != nil && strings.Contains(e.Err.Error(), "a.test") {
			t.Errorf("%s: the cause repeats the name: %v", tt.name, e.Err)
		}
	}
}

func fails(errno syscall.Errno) func(context.Context, netip.AddrPort) (net.Conn, error) {
	return func(context.Context, netip.AddrPort) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", errno)}
	}
}

// A literal is never given to a resolver, which may accept lenient spellings.
func TestDialerDoesNotResolveLiterals(t *testing.T) {
	network := &fakeNetwork{start: time.Now()}
	d := Dialer{Resolver: testkit.NeverResolve(t), Connect: network.connect}
	for _, target := range []string{"192.0.2.1:1", "[2001:db8::1]:1", "[::ffff:192.0.2.1]:1"} {
		if _, _, e := d.Dial(context.Background(), testkit.MustAuthority(t, target)); e != nil {
			t.Error(e)
		}
	}
}

func TestDialerKeepsToOneIPVersion(t *testing.T) {
	for network, want := range map[string]string{"": "ip", "tcp": "ip", "tcp4": "ip4", "tcp6": "ip6"} {
		asked := ""
		d := Dialer{Network: network, Resolver: networkResolver(func(n string) { asked = n })}
		d.Dial(context.Background(), testkit.MustAuthority(t, "a.test:1"))
		if asked != want {
			t.Errorf("for %q the resolver was asked for %q, want %q", network, asked, want)
		}
	}
	for _, cause := range []error{&net.DNSError{IsNotFound: true}, &net.AddrError{Err: "no suitable address found"}} {
		d := Dialer{Network: "tcp6", Resolver: testkit.FailingResolver{Err: cause}}
		if _, _, e := d.Dial(context.Background(), testkit.MustAuthority(t, "a.test:1")); e == nil || e.Detail != "the name does not exist, or has no IPv6 address" {
			t.Errorf("for %v the error is %v", cause, e)
		}
	}
	four, six := testkit.MustAuthority(t, "192.0.2.1:1"), testkit.MustAuthority(t, "[2001:db8::1]:1")
	for _, tt := range []struct {
		network string
		target  tunnel.Authority
		ok      bool
	}{{"tcp4", four, true}, {"tcp4", six, false}, {"tcp6", six, true}, {"tcp6", four, false}, {"", four, true}, {"", six, true}} {
		d := Dialer{Network: tt.network, Connect: (&fakeNetwork{}).connect}
		if _, _, e := d.Dial(context.Background(), tt.target); (e == nil) != tt.ok {
			t.Errorf("%q to %v: %v", tt.network, tt.target, e)
		}
	}
}

type networkResolver func(network string)

func (f networkResolver) LookupNetIP(_ context.Context, network, _ string) ([]netip.Addr, error) {
	f(network)
	return nil, nil
}

func TestDialerTellsItsTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := &fakeNetwork{start: time.Now(), outcomes: map[string]dialOutcome{"192.0.2.1": {0, syscall.ECONNREFUSED}}}
		var events []string
		var mu sync.Mutex
		note := func(event string, args ...any) {
			mu.Lock()
			defer mu.Unlock()
			events = append(events, strings.TrimSpace(event+" "+fmt.Sprint(args...)))
		}
		d := Dialer{Resolver: testkit.ResolveTo("192.0.2.1", "192.0.2.2"), Connect: network.connect, Trace: &Trace{
			Resolved:  func(addrs []netip.Addr, err error) { note("resolved", len(addrs), err) },
			Attempt:   func(ap netip.AddrPort) { note("attempt", ap) },
			Attempted: func(ap netip.AddrPort, err error) { note("attempted", ap, err != nil) },
		}}
		d.Dial(context.Background(), testkit.MustAuthority(t, "a.test:7"))
		want := []string{"resolved 2 <nil>", "attempt 192.0.2.1:7", "attempted 192.0.2.1:7 true", "attempt 192.0.2.2:7", "attempted 192.0.2.2:7 false"}
		if !slices.Equal(events, want) {
			t.Errorf("events %q, want %q", events, want)
		}
	})
}

// apart is a Source that answers for each IP version after a delay of its own.
type apart map[string]struct {
	after time.Duration
	addrs string
	err   error
}

func (r apart) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	timer := time.NewTimer(r[network].after)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := r[network].err; err != nil {
		return nil, err
	}
	return testkit.ResolveTo(strings.Fields(r[network].addrs)...)(ctx, host)
}

// RFC 8305, section 3: the first answer starts the race, and the other one joins it.
func TestDialerStartsWithTheFirstAnswer(t *testing.T) {
	const ms = time.Millisecond
	type answer = struct {
		after time.Duration
		addrs string
		err   error
	}
	refused, unreachable := dialOutcome{0, syscall.ECONNREFUSED}, dialOutcome{0, syscall.ENETUNREACH}
	silent := dialOutcome{never, nil}
	servfail, nxdomain := &net.DNSError{IsTemporary: true}, &net.DNSError{IsNotFound: true}
	for _, tt := range []struct {
		name     string
		ip4, ip6 answer
		outcomes map[string]dialOutcome
		tried    []string
		won      string // or the error's type
		took     time.Duration
	}{
		{"AAAA is mute", answer{ms, "192.0.2.1", nil}, answer{never, "", nil}, nil,
			[]string{"192.0.2.1 at 51ms"}, "192.0.2.1", 51 * ms},
		{"A is mute", answer{never, "", nil}, answer{ms, "2001:db8::1", nil}, nil,
			[]string{"2001:db8::1 at 1ms"}, "2001:db8::1", ms},
		{"AAAA comes late, while IPv4 is silent", answer{0, "192.0.2.1 192.0.2.2", nil}, answer{150 * ms, "2001:db8::1", nil}, map[string]dialOutcome{"192.0.2.1": silent},
			[]string{"192.0.2.1 at 50ms", "2001:db8::1 at 300ms"}, "2001:db8::1", 300 * ms},
		{"AAAA comes late, after IPv4 refused", answer{0, "192.0.2.1", nil}, answer{200 * ms, "2001:db8::1", nil}, map[string]dialOutcome{"192.0.2.1": refused},
			[]string{"192.0.2.1 at 50ms", "2001:db8::1 at 200ms"}, "2001:db8::1", 200 * ms},
		{"IPv4 refuses, and AAAA is mute", answer{0, "192.0.2.1", nil}, answer{never, "", nil}, map[string]dialOutcome{"192.0.2.1": refused},
			[]string{"192.0.2.1 at 50ms"}, "connection_refused", 300 * ms},
		{"A comes late, after IPv6 was unreachable", answer{3000 * ms, "192.0.2.1", nil}, answer{0, "2001:db8::1", nil}, map[string]dialOutcome{"2001:db8::1": unreachable},
			[]string{"2001:db8::1 at 0s", "192.0.2.1 at 3s"}, "192.0.2.1", 3000 * ms},
		{"IPv4's refusal says more than that IPv6 has no way", answer{ms, "192.0.2.1", nil}, answer{0, "2001:db8::1", nil}, map[string]dialOutcome{"2001:db8::1": unreachable, "192.0.2.1": refused},
			[]string{"2001:db8::1 at 0s", "192.0.2.1 at 1ms"}, "connection_refused", ms},
		{"IPv4 is not allowed, and AAAA late", answer{0, "10.0.0.1", nil}, answer{100 * ms, "2001:db8::1", nil}, nil,
			[]string{"2001:db8::1 at 100ms"}, "2001:db8::1", 100 * ms},
		{"IPv4 is not allowed, and AAAA mute", answer{0, "10.0.0.1", nil}, answer{never, "", nil}, nil,
			nil, "destination_ip_prohibited", 300 * ms},
		{"late IPv4 is not allowed, and IPv6 refuses", answer{100 * ms, "10.0.0.1", nil}, answer{0, "2001:db8::1", nil}, map[string]dialOutcome{"2001:db8::1": refused},
			[]string{"2001:db8::1 at 0s"}, "connection_refused", 100 * ms},
		{"AAAA fails", answer{ms, "192.0.2.1", nil}, answer{0, "", servfail}, nil, []string{"192.0.2.1 at 1ms"}, "192.0.2.1", ms},
		{"the late answer is a failure", answer{0, "192.0.2.1", nil}, answer{60 * ms, "", servfail}, map[string]dialOutcome{"192.0.2.1": refused},
			[]string{"192.0.2.1 at 50ms"}, "connection_refused", 60 * ms},
		{"A says there is no such name, and AAAA is mute", answer{0, "", nxdomain}, answer{never, "", nil}, nil, nil, "dns_error", 50 * ms},
		{"both are mute", answer{never, "", nil}, answer{never, "", nil}, nil, nil, "dns_timeout", 10 * time.Second},
		{"A is mute, and IPv6 refuses", answer{never, "", nil}, answer{0, "2001:db8::1", nil}, map[string]dialOutcome{"2001:db8::1": refused},
			[]string{"2001:db8::1 at 0s"}, "connection_refused", 10 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := &fakeNetwork{start: time.Now(), outcomes: tt.outcomes}
				names := &resolve.Resolver{Source: apart{"ip4": tt.ip4, "ip6": tt.ip6}, PrefersIPv6: func(netip.Addr) bool { return true }}
				d := Dialer{Resolver: names, Timeout: 10 * time.Second, Connect: network.connect, Judge: not10}
				_, ap, e := d.Dial(context.Background(), testkit.MustAuthority(t, "example.test:443"))
				took, won := time.Since(network.start), ap.Addr().String()
				if e != nil {
					won = e.Type.String()
				}
				network.mu.Lock()
				defer network.mu.Unlock()
				if won != tt.won || took != tt.took || !slices.Equal(network.tried, tt.tried) {
					t.Errorf("%s after %v, tried %q\nwant %s after %v, tried %q", won, took, network.tried, tt.won, tt.took, tt.tried)
				}
			})
		})
	}
}

// Who needs an address, and makes no connection, gets one of IPv4 too if that takes only
// a moment.
func TestDialerResolvesBothVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for after, want := range map[time.Duration]string{100 * time.Millisecond: "[2001:db8::1 192.0.2.1]", never: "[2001:db8::1]"} {
			source := apart{"ip4": {after, "192.0.2.1", nil}, "ip6": {0, "2001:db8::1", nil}}
			d := Dialer{Resolver: &resolve.Resolver{Source: source, PrefersIPv6: func(netip.Addr) bool { return true }}}
			addrs, e := d.Resolve(context.Background(), testkit.MustAuthority(t, "example.test:443"))
			if e != nil || fmt.Sprint(addrs) != want {
				t.Errorf("A after %v: %v, %v; want %s", after, addrs, e, want)
			}
		}
	})
}

// A name with a dot is not completed, and the error says so where it could have been.
func TestDialerTellsOfTheSearchList(t *testing.T) {
	none := testkit.FakeResolver(func(_ context.Context, host string) ([]netip.Addr, error) {
		return nil, &net.DNSError{IsNotFound: true}
	})
	for _, tt := range []struct {
		target string
		search []string
		want   string
	}{
		{"web.shop:80", []string{"a.corp.test", "a"}, "the name does not exist; a name with a dot is not completed by the search list"},
		{"web.shop:80", []string{"a"}, "the name does not exist"},
		{"web:80", []string{"a.corp.test", "a"}, "the name does not exist"},
	} {
		d := Dialer{Resolver: &resolve.Resolver{Source: none, Search: func(string) []string { return tt.search }}}
		if _, _, e := d.Dial(context.Background(), testkit.MustAuthority(t, tt.target)); e == nil || e.Detail != tt.want || e.RCode != "NXDOMAIN" {
			t.Errorf("%s: %v, want %q", tt.target, e, tt.want)
		}
	}
}

// Every name that the search list makes is judged, and the one that was found is told.
func TestDialerJudgesCompletedNames(t *testing.T) {
	source := testkit.FakeResolver(func(_ context.Context, host string) ([]netip.Addr, error) {
		if host == "vault.lab.test" || host == "web.lab.test" {
			return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
		}
		return nil, &net.DNSError{IsNotFound: true}
	})
	names := &resolve.Resolver{Source: source, Search: func(name string) []string { return []string{name + ".corp.test", name + ".lab.test", name} }}
	for target, want := range map[string]string{"web:443": "web.lab.test", "vault:443": "http_request_denied"} {
		got := ""
		d := Dialer{Resolver: names, Connect: (&fakeNetwork{}).connect, Trace: &Trace{Completed: func(full string) { got = full }},
			JudgeName: func(full string) *tunnel.Error {
				if full == "vault.lab.test" {
					return &tunnel.Error{Phase: tunnel.PhasePolicy, Type: tunnel.ErrorDenied}
				}
				return nil
			}}
		if _, _, e := d.Dial(context.Background(), testkit.MustAuthority(t, target)); e != nil {
			got = e.Type.String()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
	}
	// A resolver of another kind does not get to complete the name.
	var asked string
	d := Dialer{JudgeName: func(string) *tunnel.Error { return nil }, Connect: (&fakeNetwork{}).connect, Resolver: exactly(func(host string) { asked = host })}
	if d.Dial(context.Background(), testkit.MustAuthority(t, "vault:443")); asked != "vault." {
		t.Errorf("it was asked for %q", asked)
	}
}

type exactly func(host string)

func (f exactly) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	f(host)
	return nil, nil
}
