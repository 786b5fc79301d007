// Package localport is dial --listen: it accepts the connections of programs on this
// machine and gives each a tunnel of its own, to one target or to the target that the
// program names in SOCKS.
//
// It opens tunnels with the client.Client that its user gives it, relays them with
// package relay, and logs them with the keys of serve's access log. It knows no flags
// and prints nothing. It does not import proxy: no client gets to choose a route here,
// and no policy applies.
package localport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/client"
	"culvert/tunnel/explain"
	"culvert/tunnel/internal/panics"
	"culvert/tunnel/listen"
	"culvert/tunnel/relay"
)

// Parse parses the address on which a Server listens: PORT or :PORT, which mean
// 127.0.0.1, HOST:PORT, or unix:PATH. With socks5:// in front, socks is true: programs
// name their targets. Port 0 stands for a free port.
func Parse(s string) (spec listen.Spec, socks bool, err error) {
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		switch strings.ToLower(scheme) {
		case tunnel.SchemeSOCKS5, tunnel.SchemeSOCKS5H, tunnel.SchemeSOCKS4A, "socks":
		default:
			return listen.Spec{}, false, fmt.Errorf("the scheme %q is not supported: use socks5://, or none", scheme)
		}
		s, socks = strings.TrimSuffix(rest, "/"), true
	}
	if !strings.HasPrefix(s, "unix:") {
		switch host, port, ok := strings.Cut(s, ":"); {
		case !ok && strings.Trim(s, "0123456789") != "":
			return listen.Spec{}, false, errors.New("it is PORT, HOST:PORT, unix:PATH or socks5://HOST:PORT (IPv6 in brackets)")
		case !ok:
			s = "127.0.0.1:" + s
		case host == "":
			s = "127.0.0.1:" + port
		}
	}
	spec, err = listen.Parse(s)
	spec.Bare = true
	return spec, socks, err
}

// defaultHeaderTimeout is the default of Server.HeaderTimeout.
const defaultHeaderTimeout = 10 * time.Second

// linger bounds the second half of a tunnel without progress, as proxy.DefaultLinger
// does.
const linger = time.Minute

// Server accepts the connections of programs on this machine and gives each a tunnel
// of its own. Client is required. The fields must not be changed after the first Serve.
type Server struct {
	// Client returns the Client that opens the tunnel to a target. If it returns the
	// same Client more than once, the tunnels share its connections.
	Client func(tunnel.Authority) (*client.Client, error)

	// Target is the target of every tunnel; zero = each connection names its own in
	// SOCKS 5 (RFC 1928), 4 or 4a.
	Target tunnel.Authority

	// HeaderTimeout bounds the time for a SOCKS request; 0 = 10 s, negative =
	// none.
	HeaderTimeout time.Duration

	// Log gets a line when a tunnel opens, when it ends, and when it cannot be opened,
	// with the keys of the access log of a proxy.Server; nil = none.
	Log *slog.Logger

	once      sync.Once
	ctx       context.Context // for opening tunnels; cut cancels it
	cancel    context.CancelFunc
	count     atomic.Int64
	mu        sync.Mutex
	listeners []net.Listener
	opening   map[*localConn]struct{}
	relays    map[relay.Running]struct{}
	active    sync.WaitGroup
	loops     relay.Loops
	closed    bool
}

func (s *Server) init() {
	s.once.Do(func() {
		s.ctx, s.cancel = context.WithCancel(context.Background())
		s.opening, s.relays = make(map[*localConn]struct{}), make(map[relay.Running]struct{})
	})
}

// Serve accepts connections until Shutdown or Close is called, and then returns nil. If
// l fails for good, it returns the error of Accept. It closes l. It may be called for
// several listeners.
func (s *Server) Serve(l net.Listener) error {
	defer l.Close()
	s.init()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.listeners = append(s.listeners, l)
	s.mu.Unlock()
	for pause := time.Duration(0); ; {
		conn, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			s.start(l, conn)
		case s.isClosed():
			return nil
		case !listen.Temporary(err):
			return err
		default: // for example, there are no descriptors left for now
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			select {
			case <-time.After(pause):
			case <-s.ctx.Done():
			}
		}
	}
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// start serves conn in a goroutine of its own.
func (s *Server) start(l net.Listener, conn net.Conn) {
	c := &localConn{server: s, conn: conn, rec: accesslog.Record{
		Start: time.Now(), ID: strconv.FormatInt(s.count.Add(1), 10), Client: conn.RemoteAddr().String(),
		Listener: l.Addr().String(), Protocol: "tcp", Target: s.Target,
	}}
	if l.Addr().Network() == "unix" {
		c.rec.Client = "unix"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		conn.Close()
		return
	}
	s.opening[c] = struct{}{}
	s.active.Add(1)
	go c.serve(s.ctx)
}

// Open returns the number of tunnels that are open or being opened.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.opening) + len(s.relays)
}

// Shutdown stops accepting connections and waits until all tunnels have ended. When ctx
// is done it ends those that are left.
func (s *Server) Shutdown(ctx context.Context) {
	s.stop()
	ended := make(chan struct{})
	go func() { s.active.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-ctx.Done():
		s.cut()
		<-ended
	}
	s.loops.Close()
}

// Close stops accepting connections, ends all tunnels and waits until they have ended.
func (s *Server) Close() {
	s.stop()
	s.cut()
	s.active.Wait()
	s.loops.Close()
}

// stop stops accepting connections.
func (s *Server) stop() {
	s.init()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, l := range s.listeners {
		l.Close()
	}
	s.listeners = nil
}

// cut ends all tunnels, and all attempts to open one.
func (s *Server) cut() {
	s.mu.Lock()
	var relays []relay.Running
	for r := range s.relays {
		relays = append(relays, r)
	}
	s.cancel()
	for c := range s.opening {
		c.conn.Close()
	}
	s.mu.Unlock()
	for _, r := range relays { // without the lock, which done takes
		r.End(relay.ClosedByDrain)
	}
}

// localConn is one connection of a local program.
type localConn struct {
	server *Server
	conn   net.Conn
	rec    accesslog.Record
}

// serve opens the connection's tunnel and starts its relay.
func (c *localConn) serve(ctx context.Context) {
	defer panics.Recover("a local connection", func() { c.fail(&tunnel.Error{Type: tunnel.ErrorInternal}, "internal error") })
	reply := func(*tunnel.Error) error { return nil } // without SOCKS, closing the connection is the answer
	if c.server.Target.IsZero() {
		socks := socksServer{conn: c.conn, timeout: cmp.Or(c.server.HeaderTimeout, defaultHeaderTimeout)}
		target, err := socks.request()
		c.rec.Target, c.rec.Protocol = target, socks.protocol()
		if err != nil {
			c.fail(err, tunnel.AsError(err, tunnel.PhaseRequest).Cause())
			return
		}
		reply = socks.reply
	}
	client, err := c.server.Client(c.rec.Target)
	if err != nil {
		_ = reply(&tunnel.Error{Type: tunnel.ErrorInternal})
		c.fail(err, err.Error())
		return
	}
	start := time.Now()
	opened, err := client.Open(ctx, c.rec.Target)
	c.rec.Connect = time.Since(start)
	if err != nil {
		_ = reply(tunnel.AsError(err, tunnel.PhaseRequest))
		sentence, _ := explain.Error(err)
		c.fail(err, sentence)
		return
	}
	if !opened.Route().Direct() {
		c.rec.Via = opened.Route().String()
	}
	if opened.NextHop().IsValid() {
		c.rec.Addr = opened.NextHop().String()
	}
	if err := reply(nil); err != nil {
		opened.Close()
		c.fail(&tunnel.Error{Phase: tunnel.PhaseRelay, Type: tunnel.ErrorConnectionTerminated}, "the program left before its tunnel was open")
		return
	}
	c.relay(opened)
}

// fail closes the connection, and logs why there is no tunnel.
func (c *localConn) fail(err error, detail string) {
	c.conn.Close()
	c.server.forget(c)
	c.rec.Error, c.rec.Detail = tunnel.AsError(err, tunnel.PhaseRequest).Type, detail
	c.rec.Duration = time.Since(c.rec.Start)
	c.rec.Log(c.server.Log, accesslog.EventRequest)
	c.server.active.Done()
}

// forget removes a connection whose tunnel was not opened.
func (s *Server) forget(c *localConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.opening, c)
}

// relay starts the relay of an open tunnel, which owns both connections from then on.
func (c *localConn) relay(opened *client.Conn) {
	c.rec.Log(c.server.Log, accesslog.EventOpen)
	s, rec := c.server, c.rec
	s.mu.Lock()
	defer s.mu.Unlock() // done waits for the lock, and so for the entry that it removes
	delete(s.opening, c)
	client, target := relay.Side{Conn: c.conn}, relay.Side{Conn: opened.NetConn(), Early: opened.TakeEarly()}
	var r relay.Running
	done := func(result relay.Result) {
		s.mu.Lock()
		delete(s.relays, r)
		s.mu.Unlock()
		rec.SetResult(result)
		rec.Log(s.Log, accesslog.EventClose)
		s.active.Done()
	}
	limits := relay.Limits{Linger: linger}
	r = s.loops.Relay(client, target, limits, done)
	s.relays[r] = struct{}{}
}
