package client

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/internal/h2"
)

// Connections of HTTP/2 are shared: the tunnels of a Client that go through the
// same proxies, up to one that speaks HTTP/2, go over one connection to it, and
// over a further one when that is full.

// clientIdle is how long a Client keeps a connection that carries no tunnel.
const clientIdle = 90 * time.Second

// sharedConns are a Client's connections of HTTP/2.
type sharedConns struct {
	mu    sync.Mutex
	lists map[string]*sharedList
	basic map[string]tunnel.Credentials // that a hop took by Basic; guarded by mu
	sent  []string                      // the last answers to challenges, for a Masker; guarded by mu
}

// maxAnswers bounds the answers that are remembered: enough for all rounds of a few
// tunnels at once.
const maxAnswers = 4 * maxLoginRounds

// showed remembers the value of a Proxy-Authorization that goes out.
func (s *sharedConns) rememberAnswer(value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.sent, value) {
		return
	}
	if len(s.sent) == maxAnswers {
		s.sent = slices.Delete(s.sent, 0, 1)
	}
	s.sent = append(s.sent, value)
}

// answers are those that were remembered.
func (s *sharedConns) answers() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.sent)
}

// sharedList holds the connections that lead through the same hops.
type sharedList struct {
	conns   []*sharedConn
	pending *pendingConn // nil = none is being made
	plain   bool         // the proxy speaks HTTP/1: there is nothing to share
}

type sharedConn struct {
	*h2.Conn
	addr     netip.AddrPort // of the first hop
	reserved int            // streams that are about to be opened; guarded by sharedConns.mu
	settled  chan struct{}  // closed when a reservation is given back; nil = nothing waits for that; guarded likewise
}

func (c *Client) sharedConns() *sharedConns {
	c.once.Do(func() {
		if c.shared == nil {
			c.shared = &sharedConns{lists: make(map[string]*sharedList)}
		}
	})
	return c.shared
}

// CloseIdleConnections closes the connections of HTTP/2 that carry no tunnel;
// those that do are closed when their last tunnel is. New tunnels get new ones.
func (c *Client) CloseIdleConnections() {
	s := c.sharedConns()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, list := range s.lists {
		for _, conn := range list.conns {
			conn.Shutdown()
		}
		list.conns = nil
	}
}

// Close closes the connections of HTTP/2, whatever goes over them, and gives
// their last bytes a second to go out. Tunnels over other connections are not
// concerned.
func (c *Client) Close() error {
	s := c.sharedConns()
	s.mu.Lock()
	var conns []*sharedConn
	for _, list := range s.lists {
		conns = append(conns, list.conns...)
		list.conns = nil
	}
	s.mu.Unlock()
	patience := time.NewTimer(time.Second)
	defer patience.Stop()
	for _, conn := range conns {
		conn.Shutdown()
	}
	for _, conn := range conns {
		select {
		case <-conn.Done():
		case <-patience.C:
			patience.Reset(0)
		}
		conn.Conn.Close()
	}
	return nil
}

// shareKey names the way through hops, credentials included, and who watches it. It
// never leaves memory.
func (c *Client) shareKey(hops []tunnel.Hop) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %p", c.Network, c.Watch)
	for _, h := range hops {
		fmt.Fprintf(&b, " %s %p", h, h.TLS)
		if h.Credentials != nil {
			fmt.Fprintf(&b, " %q %q", h.Credentials.User, h.Credentials.Password)
		}
	}
	return b.String()
}

// pendingConn is a connection that one tunnel makes for all that wait for it.
type pendingConn struct {
	over   chan struct{} // closed when there is one, or will not be
	failed bool
}

// take finds a connection with room for one more stream, and reserves it. If there
// is none, the caller has to make one and to call done with it, or with nil if that
// failed. Other tunnels wait until then; where it failed each makes its own.
func (s *sharedConns) take(ctx context.Context, key string) (conn *sharedConn, done func(*sharedConn), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.lists[key]
	if list == nil {
		list = &sharedList{}
		s.lists[key] = list
	}
	for {
		conn, unsure := list.withRoom()
		switch {
		case conn != nil:
			conn.reserved++
			return conn, nil, nil
		case unsure != nil:
			if err := s.awaitRoom(ctx, unsure); err != nil {
				return nil, nil, err
			}
			continue
		}
		if list.plain {
			return nil, func(made *sharedConn) { s.opened(list, made, nil) }, nil
		}
		if list.pending == nil {
			mine := &pendingConn{over: make(chan struct{})}
			list.pending = mine
			return nil, func(made *sharedConn) { s.opened(list, made, mine) }, nil
		}
		theirs := list.pending
		switch err := s.await(ctx, theirs.over); {
		case err != nil:
			return nil, nil, err
		case theirs.failed:
			return nil, func(made *sharedConn) { s.opened(list, made, nil) }, nil
		}
	}
}

// await waits until the channel is closed. s.mu is released meanwhile.
func (s *sharedConns) await(ctx context.Context, over <-chan struct{}) error {
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// awaitRoom waits until the proxy has said how many streams the connection
// carries, or until a reservation is given back. s.mu is released meanwhile.
func (s *sharedConns) awaitRoom(ctx context.Context, conn *sharedConn) error {
	if !conn.Known() {
		s.mu.Unlock()
		defer s.mu.Lock()
		_, _ = conn.PeerSettings(ctx) // a connection that ends without them is not used again
		return context.Cause(ctx)
	}
	if conn.settled == nil {
		conn.settled = make(chan struct{})
	}
	return s.await(ctx, conn.settled)
}

// opened puts a connection on the list, with a stream of it reserved, and wakes
// those who wait for it.
func (s *sharedConns) opened(list *sharedList, made *sharedConn, mine *pendingConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if made != nil {
		made.reserved++
		list.conns = append(list.conns, made)
	}
	if mine != nil {
		mine.failed = made == nil
		list.pending = nil
		close(mine.over)
	}
}

// speaksHTTP1 notes that there is nothing to share.
func (s *sharedConns) speaksHTTP1(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if list := s.lists[key]; list != nil {
		list.plain = true
	}
}

// settle gives a reservation back: the stream is open, or will not be.
func (s *sharedConns) settle(conn *sharedConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	conn.reserved--
	if conn.settled != nil {
		close(conn.settled)
		conn.settled = nil
	}
}

// withRoom returns a connection with room, and forgets those that have ended. A
// connection is unsure if its proxy has not said yet how many streams it carries, or
// if its reservations may fill it: some may be streams already, and count twice.
func (l *sharedList) withRoom() (found, unsure *sharedConn) {
	kept := l.conns[:0]
	for _, conn := range l.conns {
		if !conn.Usable() {
			continue
		}
		kept = append(kept, conn)
		switch room := conn.Room(); {
		case found != nil:
		case !conn.Known():
			unsure = conn
		case room > conn.reserved:
			found = conn
		case room > 0:
			unsure = conn
		}
	}
	clear(l.conns[len(kept):])
	l.conns = kept
	return found, unsure
}

// newSharedConn speaks HTTP/2 over conn, which is its own from here on.
func newSharedConn(conn net.Conn, addr netip.AddrPort, watch func(h2.Frame)) *sharedConn {
	return &sharedConn{Conn: h2.Client(conn, h2.Config{IdleTimeout: clientIdle, Observe: watch}), addr: addr}
}

// tookBasic reports whether a tunnel was opened by the hop's credentials as they
// are, so that they can go with the first request.
func (s *sharedConns) tookBasic(hop tunnel.Hop) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	took, ok := s.basic[hop.String()]
	return ok && hop.Credentials != nil && took == *hop.Credentials
}
