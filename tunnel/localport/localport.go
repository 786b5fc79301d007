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
	"culvert/tunnel/listen"
	"culvert/tunnel/proxy"
	"culvert/tunnel/relay"
)

// Parse parses where a Server listens: PORT and :PORT, on 127.0.0.1,
// HOST:PORT, unix:PATH; with socks5:// in front programs name the target. Port
// 0 takes a free one.
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

// Server accepts the connections of programs on this machine and gives each
// a tunnel of its own. Client is required; set every field before Serve.
type Server struct {
	// Client opens the tunnels to Target. It is called with the target that was
	// asked for; a Client that it returns twice shares its connections.
	Client func(tunnel.Authority) (*client.Client, error)

	// Target is where every tunnel leads; zero = each connection names its own
	// in SOCKS 5, 4 or 4a (RFC 1928).
	Target tunnel.Authority

	// HeaderTimeout bounds a SOCKS request; 0 = DefaultHeaderTimeout, negative =
	// none.
	HeaderTimeout time.Duration

	// Log gets a line when a tunnel opens, when it ends, and for each that could
	// not be opened, with the keys of a Server's access log; nil = none.
	Log *slog.Logger

	once      sync.Once
	ctx       context.Context // of everything that is being opened
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

func (p *Server) init() {
	p.once.Do(func() {
		p.ctx, p.cancel = context.WithCancel(context.Background())
		p.opening, p.relays = make(map[*localConn]struct{}), make(map[relay.Running]struct{})
	})
}

// Serve accepts connections until Shutdown or Close, and then returns nil. It
// closes l. It may be called for several listeners.
func (p *Server) Serve(l net.Listener) error {
	defer l.Close()
	p.init()
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.listeners = append(p.listeners, l)
	p.mu.Unlock()
	for pause := time.Duration(0); ; {
		conn, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			p.start(l, conn)
		case p.isClosed():
			return nil
		case !listen.Temporary(err):
			return err
		default: // as when descriptors run short: some will be free again
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			select {
			case <-time.After(pause):
			case <-p.ctx.Done():
			}
		}
	}
}

func (p *Server) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

func (p *Server) start(l net.Listener, conn net.Conn) {
	c := &localConn{port: p, conn: conn, rec: accesslog.Record{
		Start: time.Now(), ID: strconv.FormatInt(p.count.Add(1), 10), Client: conn.RemoteAddr().String(),
		Listener: l.Addr().String(), Protocol: "tcp", Target: p.Target,
	}}
	if l.Addr().Network() == "unix" {
		c.rec.Client = "unix"
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		conn.Close()
		return
	}
	p.opening[c] = struct{}{}
	p.active.Add(1)
	go c.serve(p.ctx)
}

// Open is the number of tunnels that are open, or being opened.
func (p *Server) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.opening) + len(p.relays)
}

// Shutdown accepts nothing more, waits for the tunnels to end, or for ctx, and
// then ends those that are left.
func (p *Server) Shutdown(ctx context.Context) {
	p.stop()
	ended := make(chan struct{})
	go func() { p.active.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-ctx.Done():
		p.cut()
		<-ended
	}
	p.loops.Close()
}

// Close is Shutdown without waiting: it ends all tunnels.
func (p *Server) Close() {
	p.stop()
	p.cut()
	p.active.Wait()
	p.loops.Close()
}

func (p *Server) stop() {
	p.init()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, l := range p.listeners {
		l.Close()
	}
	p.listeners = nil
}

func (p *Server) cut() {
	p.mu.Lock()
	var relays []relay.Running
	for r := range p.relays {
		relays = append(relays, r)
	}
	p.cancel()
	for c := range p.opening {
		c.conn.Close()
	}
	p.mu.Unlock()
	for _, r := range relays { // not under the lock: done wants it
		r.End(relay.ClosedByDrain)
	}
}

// localConn is one connection of a local program.
type localConn struct {
	port *Server
	conn net.Conn
	rec  accesslog.Record
}

// serve opens the connection's tunnel and starts its relay.
func (c *localConn) serve(ctx context.Context) {
	reply := func(*tunnel.Error) error { return nil } // without SOCKS, the close says it
	if c.port.Target.IsZero() {
		s := socksServer{conn: c.conn, timeout: cmp.Or(c.port.HeaderTimeout, proxy.DefaultHeaderTimeout)}
		target, err := s.request()
		c.rec.Target, c.rec.Protocol = target, s.protocol()
		if err != nil {
			c.fail(err, tunnel.AsError(err, tunnel.PhaseRequest).Cause())
			return
		}
		reply = s.reply
	}
	client, err := c.port.Client(c.rec.Target)
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
	c.port.forget(c)
	c.rec.Error, c.rec.Detail = tunnel.AsError(err, tunnel.PhaseRequest).Type, detail
	c.rec.Duration = time.Since(c.rec.Start)
	c.rec.Log(c.port.Log, accesslog.EventRequest)
	c.port.active.Done()
}

// forget takes a connection off the books of those that are opening.
func (p *Server) forget(c *localConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.opening, c)
}

// relay gives both connections away.
func (c *localConn) relay(opened *client.Conn) {
	c.rec.Log(c.port.Log, accesslog.EventOpen)
	p, rec := c.port, c.rec
	p.mu.Lock()
	defer p.mu.Unlock() // done waits for the entry that it removes
	delete(p.opening, c)
	client, target := relay.Side{Conn: c.conn}, relay.Side{Conn: opened.NetConn(), Early: opened.TakeEarly()}
	var r relay.Running
	done := func(result relay.Result) {
		p.mu.Lock()
		delete(p.relays, r)
		p.mu.Unlock()
		rec.SetResult(result)
		rec.Log(p.Log, accesslog.EventClose)
		p.active.Done()
	}
	limits := relay.Limits{Linger: proxy.DefaultLinger}
	var onLoop bool
	if r, onLoop = p.loops.Start(client, target, limits, done); !onLoop {
		r = relay.Start(client, target, limits, done)
	}
	p.relays[r] = struct{}{}
}
