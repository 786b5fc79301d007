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
)

// maxNoted bounds the alerts and the lookups that an Answer tells.
const maxNoted = 100

// The kinds of a result that are of use; others are typeof's words.
const (
	kindString = "string"
	kindNull   = "null"
)

// program is what an engine runs: a script, and one question to it.
type program struct {
	script    string
	url, host string

	// call is one helper function; the arguments are the script's, made texts.
	call func(name string, args []string) (any, error)
}

// said is what a program's question was answered.
type said struct {
	function string // which one was asked
	kind     string
	text     string // of a string
}

// errNoFunction is for a script that is none.
var errNoFunction = errors.New("it has no function FindProxyForURL")

// run is one run of a script: what its helper functions look at.
type run struct {
	ctx    context.Context
	script *Script

	mu       sync.Mutex
	ended    bool // nothing is noted any more
	alerts   []string
	lookups  []Lookup
	resolved map[string]Lookup // by network and name: asked once
}

func newRun(ctx context.Context, s *Script) *run {
	return &run{ctx: ctx, script: s, resolved: map[string]Lookup{}}
}

// ask runs the program, and stops it when the context ends. One that does not
// stop is left to end by itself.
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
		answer, err := execute(r.ctx, p)
		done <- outcome{answer, err}
	}()
	select {
	case o := <-done:
		return o.said, o.err
	case <-r.ctx.Done():
	}
	late := time.NewTimer(afterwards)
	defer late.Stop()
	select {
	case <-done: // late is late
	case <-late.C:
	}
	return said{}, r.ctx.Err()
}

// end returns what was noted, and has nothing noted or told hereafter.
func (r *run) end() ([]string, []Lookup) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	return r.alerts, r.lookups
}

// alert notes a message and passes it on.
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

// lookup resolves a name, once in a run. The network is ip4 or ip. A literal is
// its own address; what is no host name has none, whatever a lenient resolver
// would make of it.
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

// addresses are this machine's, the best first.
func (r *run) addresses() []netip.Addr {
	if r.script.Addresses != nil {
		return r.script.Addresses()
	}
	return localAddresses(r.ctx)
}

// localAddresses are those that packets to the world would leave from, then
// those of the interfaces save loopback and link-local ones. Nothing is sent:
// connecting a UDP socket only chooses its route. The two addresses are for
// documents (RFC 5737, RFC 3849) and belong to nobody.
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
	own, _ := net.InterfaceAddrs() // as many as there are
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
