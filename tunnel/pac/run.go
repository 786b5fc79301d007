package pac

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/dialer"
	"culvert/tunnel/internal/panics"
)

// maxNoted limits the alerts and the lookups in an Answer.
const maxNoted = 100

// The kinds of results that can be parsed. Other kinds are values of typeof.
const (
	kindString = "string"
	kindNull   = "null"
)

// program is the work of one engine: a script, and the arguments of its function.
type program struct {
	script    string
	url, host string

	// call calls a helper function with the arguments of the script as strings.
	call func(name string, args []string) (any, error)
}

// said is the result of a program.
type said struct {
	function string // the function that was called
	kind     string
	text     string // if it is a string
}

// errNoFunction is the error for a script without the function to call.
var errNoFunction = errors.New("it has no function FindProxyForURL")

// run is one run of a script: the state of its helper functions.
type run struct {
	ctx    context.Context
	script *Script

	mu       sync.Mutex
	ended    bool // nothing is recorded any more
	alerts   []string
	lookups  []Lookup
	resolved map[string]Lookup // by network and name
}

func newRun(ctx context.Context, s *Script) *run {
	return &run{ctx: ctx, script: s, resolved: map[string]Lookup{}}
}

// ask runs the program and stops it when the context ends. A program that does not stop
// is left behind to end by itself.
func (r *run) ask(p program) (said, error) {
	if err := r.ctx.Err(); err != nil {
		return said{}, err
	}
	type outcome struct {
		said said
		err  error
	}
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		defer func() { done <- o }()
		defer panics.Into("a proxy auto-config script", &o.err)
		o.said, o.err = execute(r.ctx, p)
	}()
	select {
	case o := <-done:
		return o.said, o.err
	case <-r.ctx.Done():
	}
	late := time.NewTimer(afterwards)
	defer late.Stop()
	select {
	case <-done: // too late to count
	case <-late.C:
	}
	return said{}, r.ctx.Err()
}

// end returns the alerts and lookups. After it nothing is recorded, and no alert is passed
// on.
func (r *run) end() ([]string, []Lookup) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	return r.alerts, r.lookups
}

// alert records a message and passes it on.
func (r *run) alert(message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended || len(r.alerts) >= maxNoted {
		return
	}
	message = escape(message)
	r.alerts = append(r.alerts, message)
	if r.script.Alert != nil {
		r.script.Alert(message)
	}
}

// lookup resolves a name, once in a run. The network is ip4 or ip. A literal is its own
// address. Text that is not a host name has no address, even if a lenient resolver would
// find one.
func (r *run) lookup(network, host string) []netip.Addr {
	if addr, err := netip.ParseAddr(host); err == nil {
		if network == "ip4" && !addr.Is4() || addr.Zone() != "" {
			return nil
		}
		return []netip.Addr{addr}
	}
	name, err := tunnel.NewAuthority(host, 1)
	if err != nil || name.Addr().IsValid() {
		return nil
	}
	key := network + " " + name.Host()
	if known, ok := r.resolved[key]; ok {
		return known.Addrs
	}
	var resolver dialer.Resolver = net.DefaultResolver
	if r.script.Resolver != nil {
		resolver = r.script.Resolver
	}
	found := Lookup{Name: name.Host()}
	addrs, err := resolver.LookupNetIP(r.ctx, network, name.Host())
	for _, a := range addrs {
		if a = a.Unmap().WithZone(""); (network != "ip4" || a.Is4()) && !slices.Contains(found.Addrs, a) {
			found.Addrs = append(found.Addrs, a)
		}
	}
	if len(found.Addrs) == 0 {
		if found.Err = err; err == nil {
			found.Err = errors.New("there is no address")
		}
	}
	r.resolved[key] = found
	r.note(found)
	return found.Addrs
}

func (r *run) note(found Lookup) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ended && len(r.lookups) < maxNoted {
		r.lookups = append(r.lookups, found)
	}
}

// addresses returns the addresses of this machine, the best first.
func (r *run) addresses() []netip.Addr {
	if r.script.Addresses != nil {
		return r.script.Addresses()
	}
	return localAddresses(r.ctx)
}

// localAddresses returns the source addresses of packets to the Internet, and then those
// of the interfaces except loopback and link-local ones. Nothing is sent: connecting a
// UDP socket only chooses its route. The two destinations are reserved for documentation
// (RFC 5737, RFC 3849).
func localAddresses(ctx context.Context) []netip.Addr {
	var addrs []netip.Addr
	add := func(a netip.Addr) {
		a = a.Unmap().WithZone("")
		if a.IsGlobalUnicast() && !slices.Contains(addrs, a) {
			addrs = append(addrs, a)
		}
	}
	var d net.Dialer
	for _, world := range []string{"192.0.2.1:9", "[2001:db8::1]:9"} {
		conn, err := d.DialContext(ctx, "udp", world)
		if err != nil {
			continue
		}
		if from, ok := conn.LocalAddr().(*net.UDPAddr); ok {
			add(from.AddrPort().Addr())
		}
		conn.Close()
	}
	own, _ := net.InterfaceAddrs() // none if they cannot be read
	for _, a := range own {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			add(prefix.Addr())
		}
	}
	return addrs
}

func (r *run) now() time.Time {
	if r.script.Now != nil {
		return r.script.Now()
	}
	return time.Now()
}
