package proxy

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"culvert/tunnel/dialer"
	"culvert/tunnel/forward"
	"culvert/tunnel/internal/panics"
	"culvert/tunnel/internal/quota"
	"culvert/tunnel/internal/resolve"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/turns"
	"culvert/tunnel/internal/wire"
	"culvert/tunnel/listen"
	"culvert/tunnel/policy"
	"culvert/tunnel/relay"
)

// Defaults of Server's durations.
const (
	DefaultHeaderTimeout    = 10 * time.Second
	DefaultKeepAliveTimeout = time.Minute
	DefaultLinger           = time.Minute
)

// ErrServerClosed is what Serve returns after Shutdown or Close.
var ErrServerClosed = errors.New("proxy: server closed")

// Server is a forward proxy for CONNECT tunnels (RFC 9110, section 9.3.6) and for
// plain HTTP requests in absolute-form. The zero Server serves every client that
// reaches its listener, and connects to any public address on ports 22, 80 and
// 443. Its fields must not change once Serve, ServeHTTP or Summary was called.
type Server struct {
	// Name is the pseudonym in Via and Proxy-Status; "" = culvert- and eight
	// random hex digits, so that a chain of culverts is not taken for a loop.
	Name string

	// Policy judges targets by name and by address. A nil AllowAddr allows public
	// addresses, and on a loopback TCP listener private and loopback ones too.
	// SetPolicy replaces it while the Server runs.
	Policy policy.Policy

	// AllowClient lists the networks whose clients are served; nil = all. It is
	// checked before a byte is read, and does not apply to unix sockets.
	AllowClient []netip.Prefix

	// Verifier checks credentials; nil = none are required.
	Verifier Verifier

	// Realm is the realm of the challenge; "" = "culvert".
	Realm string

	// Via says which targets are reached through which route. The first rule that
	// matches wins; a target that matches none is reached directly.
	Via []ViaRule

	// ViaResolve resolves the names of targets here, judges the addresses, and asks
	// the parents for addresses; plain requests then go through CONNECT. Without
	// it the parents resolve the names, and judge where they lead. A parent is a
	// proxy that a Via rule names.
	ViaResolve bool

	// HeaderTimeout bounds the reading of a request head; KeepAliveTimeout the
	// wait for the next one; ConnectTimeout resolving and connecting.
	// IdleTimeout ends tunnels and plain requests that are silent in both
	// directions, 0 = never. Linger bounds how long one direction may go on
	// without progress after the other has ended. 0 = the default, negative = off.
	HeaderTimeout, KeepAliveTimeout, ConnectTimeout, IdleTimeout, Linger time.Duration

	// MaxTunnels bounds the tunnels open at once; 0 = as many as the descriptor
	// limit allows, negative = no bound. MaxTunnelsPerClient bounds the tunnels and
	// plain requests that one client address has in flight; 0 = no bound. All clients
	// of unix sockets count as one.
	MaxTunnels, MaxTunnelsPerClient int

	// MaxConnectionsPerClient bounds the descriptors that one client address holds: its
	// connections, those to targets that carry or are to carry its tunnels and requests,
	// and the look-ups of names for it. 0 = an eighth of all where users log in, else no
	// bound; negative = no bound.
	MaxConnectionsPerClient int

	// MaxHead bounds a request head in bytes; 0 = 64 KiB.
	MaxHead int

	// Resolver resolves targets and parents; nil = the system's.
	Resolver dialer.Resolver

	// AccessLog gets one line when a tunnel opens and one when it closes, and
	// one for each request that never became a tunnel; nil = none. ErrorLog
	// gets failures to accept and routes that cannot be taken; nil = none.
	AccessLog, ErrorLog *slog.Logger

	run serverState
}

// serverState is the state of a Server that runs.
type serverState struct {
	once     sync.Once
	name     string
	idPrefix string // of the records' ids
	table    *quota.Table
	warned   atomic.Int64 // when the operator was told of a shortage
	// maxDescriptors may be in use before clients are turned away; 0 = any number.
	maxDescriptors int
	ctx            context.Context // done when everything must end
	cancel         context.CancelFunc
	ids            atomic.Uint64
	draining       atomic.Bool
	logins         *turns.Queue
	known          knownLogins
	own            policy.HostAddrs
	names          resolve.Resolver              // of parents, without Server.Resolver
	policy         atomic.Pointer[policy.Policy] // of SetPolicy; nil = Server.Policy
	loops          relay.Loops
	workers        workers
	parents        parents

	mu        sync.Mutex
	listeners map[*listener]struct{}
	claimed   map[net.Listener]struct{} // see Claim
	handlers  map[string]*listener      // the listeners of ServeHTTP, by URL
	conns     map[*clientConn]struct{}
	relays    map[relay.Running]struct{}
	active    sync.WaitGroup // counts client connections and relays
}

// init sets, at the first use, what is decided once.
func (s *Server) init() {
	s.run.once.Do(func() {
		var random [8]byte
		rand.Read(random[:])
		s.run.idPrefix = hex.EncodeToString(random[:4])
		if s.run.name = s.Name; s.run.name == "" {
			s.run.name = "culvert-" + hex.EncodeToString(random[4:])
		}
		s.run.table = s.newTable()
		s.run.names.Hold = holdLookups(s.run.table.Own())
		s.run.maxDescriptors = maxDescriptors()
		s.run.logins = turns.New(hashesAtOnce())
		// Only Shutdown and Close end it, no caller's context.
		s.run.ctx, s.run.cancel = context.WithCancel(context.Background())
		s.run.listeners = make(map[*listener]struct{})
		s.run.claimed = make(map[net.Listener]struct{})
		s.run.conns = make(map[*clientConn]struct{})
		s.run.relays = make(map[relay.Running]struct{})
	})
}

// Pseudonym returns the name in Via and Proxy-Status: Name, or else the random one
// that this Server has chosen.
func (s *Server) Pseudonym() string {
	s.init()
	return s.run.name
}

// listener is one listener, and what depends on the address it listens on.
type listener struct {
	net.Listener
	server  *Server
	url     string         // as logs name it
	policy  *policy.Policy // when it was created; see rules
	renewed atomic.Pointer[renewedPolicy]
	forward *forward.Forwarder
}

// Claim makes listeners the Server's own, as Serve does: none is ever a target. A
// program with several claims all of them before it calls Serve for the first, so that
// no client of one reaches another that is about to be served, and also those that it
// serves by other means.
func (s *Server) Claim(listeners ...net.Listener) {
	s.init()
	s.run.mu.Lock()
	defer s.run.mu.Unlock()
	for _, l := range listeners {
		s.run.claimed[l] = struct{}{}
	}
}

// Serve accepts clients on l until Shutdown or Close, and then returns
// ErrServerClosed; at once if the Server was stopped before. Any other error is
// Accept's. Serve owns l and closes it. It may be called for several listeners,
// each from a goroutine of its own.
func (s *Server) Serve(l net.Listener) error {
	s.init()
	ln := &listener{Listener: l, server: s, url: listen.URL(l), policy: s.policyFor(l)}
	ln.forward = s.newForwarder(host{ln})
	sock.LeadsHere(netip.AddrPortFrom(netip.IPv6Loopback(), 1)) // opens what it needs while there are descriptors
	defer ln.forward.CloseIdleConnections()
	s.limitStrangers(l)
	s.run.mu.Lock()
	if s.run.draining.Load() {
		s.run.mu.Unlock()
		l.Close()
		return ErrServerClosed
	}
	s.run.listeners[ln] = struct{}{}
	s.run.mu.Unlock()
	defer s.removeListener(ln)
	return ln.acceptLoop()
}

func (s *Server) removeListener(ln *listener) {
	ln.Close()
	s.run.mu.Lock()
	delete(s.run.listeners, ln)
	delete(s.run.claimed, ln.Listener)
	s.run.mu.Unlock()
}

// acceptLoop accepts clients. When descriptors run out, although the table has some left,
// idle connections are dropped, and it tries again after a pause; clients wait in the
// listener's queue meanwhile.
func (ln *listener) acceptLoop() error {
	const longest = time.Second
	pause := time.Duration(0)
	for {
		conn, err := ln.Accept()
		switch {
		case err == nil:
			pause = 0
			ln.server.serveConn(ln, conn)
		case ln.server.run.draining.Load():
			return ErrServerClosed
		case !listen.Temporary(err):
			return err
		default:
			if pause = min(max(2*pause, 5*time.Millisecond), longest); pause == 5*time.Millisecond {
				ln.server.warn("accept failed, trying again", "listener", ln.url, "error", err)
			}
			if isOutOfDescriptors(err) && sock.ClientWaits(ln.Listener) && ln.server.run.table.Drop(shortBy) > 0 {
				pause = 5 * time.Millisecond
			}
			select {
			case <-time.After(pause):
			case <-ln.server.run.ctx.Done():
			}
		}
	}
}

func (s *Server) warn(msg string, args ...any) {
	if s.ErrorLog != nil {
		s.ErrorLog.Warn(msg, args...)
	}
}

// serveConn serves one client connection on a goroutine of its own.
func (s *Server) serveConn(ln *listener, conn net.Conn) {
	defer panics.Recover("an accepted connection", func() { conn.Close() })
	c := newClientConn(ln, conn)
	if c.refusal = c.admit(); c.refusal != nil && !s.run.table.Refuse(&c.slot) {
		c.turnAway()
		return
	}
	s.run.mu.Lock()
	if s.run.draining.Load() {
		s.run.mu.Unlock()
		conn.Close()
		c.slot.Release()
		return
	}
	s.run.conns[c] = struct{}{}
	s.run.active.Add(1)
	s.run.mu.Unlock()
	s.run.workers.serve(c)
}

// removeConn removes a client connection that has ended. A relay that it started
// was added before.
func (s *Server) removeConn(c *clientConn) {
	s.run.mu.Lock()
	delete(s.run.conns, c)
	s.run.mu.Unlock()
	s.run.active.Done()
}

// CheckName returns why a name cannot be Server.Name, which is used in Via as a
// pseudonym (RFC 9110, section 7.6.3) and in Proxy-Status.
func CheckName(name string) error {
	if !wire.IsToken(name) || len(name) > 255 {
		return fmt.Errorf("%q is not a token: letters, digits and - . _ only", name)
	}
	return nil
}
