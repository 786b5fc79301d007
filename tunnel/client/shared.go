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

// HTTP/2 connections are shared: the tunnels of a Client that go through the same
// hops up to a proxy that speaks HTTP/2 are streams of one connection to that proxy,
// and of another one if the first is full.

// clientIdle is how long a Client keeps a connection without tunnels.
const clientIdle = 90 * time.Second

// sharedConns holds a Client's HTTP/2 connections. It is shared by the Clients that Along returns.
type sharedConns struct {
	mu    sync.Mutex
	lists map[string]*sharedList // by shareKey; guarded by mu
	sent  []string               // the last Proxy-Authorization values sent, for a Masker; guarded by mu
}

// maxAnswers bounds the values that are remembered: enough for all rounds of a few
// tunnels at once.
const maxAnswers = 4 * maxLoginRounds

// rememberAnswer remembers a value of Proxy-Authorization that is sent.
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

// answers returns the values that were remembered.
func (s *sharedConns) answers() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.sent)
}

// sharedList holds the connections through the same hops.
type sharedList struct {
	conns   []*sharedConn
	pending *pendingConn // nil = no connection is being made
	plain   bool         // the proxy speaks HTTP/1, so there is nothing to share
}

// sharedConn is an HTTP/2 connection that several tunnels may use.
type sharedConn struct {
	*h2.Conn
	addr     netip.AddrPort // of the first hop
	reserved int            // streams about to be opened; guarded by sharedConns.mu
	settled  chan struct{}  // closed when a reservation is released; nil = nobody waits; guarded by sharedConns.mu
}

// sharedConns returns the Client's sharedConns, which it makes on first use.
func (c *Client) sharedConns() *sharedConns {
	c.makeShared()
	return c.shared
}

// loginMemory returns the Client's loginMemory, which it makes on first use.
func (c *Client) loginMemory() *loginMemory {
	c.makeShared()
	return c.memory
}

func (c *Client) makeShared() {
	c.once.Do(func() {
		if c.shared == nil {
			c.shared = &sharedConns{lists: make(map[string]*sharedList)}
		}
		if c.memory == nil {
			c.memory = &loginMemory{}
		}
	})
}

// CloseIdleConnections closes the HTTP/2 connections without tunnels. The others are
// closed when their last tunnel is closed. New tunnels use new connections.
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

// Close closes all HTTP/2 connections, and with them the tunnels that they carry. It
// waits at most a second until their last bytes are sent. Tunnels over other
// connections stay open. Close always returns nil.
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

// shareKey returns a key for connections through hops. It differs for other credentials
// and for another Watch. It holds passwords, so it must never be shown.
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

// pendingConn is a connection that one tunnel makes and others wait for.
type pendingConn struct {
	over   chan struct{} // closed when the connection is made or has failed
	failed bool
}

// take returns a connection with room for one more stream, which it reserves. If there
// is none, the caller must make one, and call done with it, or with nil if that failed.
// Other tunnels wait until then; after a failure each of them makes its own connection.
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

// await waits until the channel is closed, and releases s.mu meanwhile.
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

// awaitRoom waits until the proxy's limit of streams is known, or, if it is known, until
// a reservation is released. It releases s.mu meanwhile.
func (s *sharedConns) awaitRoom(ctx context.Context, conn *sharedConn) error {
	if !conn.Known() {
		s.mu.Unlock()
		defer s.mu.Lock()
		_, _ = conn.PeerSettings(ctx) // if the connection ends, it is not used again
		return context.Cause(ctx)
	}
	if conn.settled == nil {
		conn.settled = make(chan struct{})
	}
	return s.await(ctx, conn.settled)
}

// opened adds a connection to the list, with one stream reserved, unless made is nil. It
// wakes the tunnels that wait for it.
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

// speaksHTTP1 records that the proxy speaks HTTP/1, so that no tunnel waits for a
// connection to share.
func (s *sharedConns) speaksHTTP1(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if list := s.lists[key]; list != nil {
		list.plain = true
	}
}

// settle releases a reservation: the stream is open, or could not be opened.
func (s *sharedConns) settle(conn *sharedConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	conn.reserved--
	if conn.settled != nil {
		close(conn.settled)
		conn.settled = nil
	}
}

// withRoom returns a connection with room for one more stream, and forgets the
// connections that have ended. A connection is unsure if its limit of streams is not
// known yet, or if its reservations may fill it: some of the reserved streams may be
// open already, and so be counted twice.
func (l *sharedList) withRoom() (found, unsure *sharedConn) {
	kept := l.conns[:0]
	for _, conn := range l.conns {
		if !conn.Usable() {
			continue
		}
		kept = append(kept, conn)
		// In this order: a room that was counted before the limit was known means
		// nothing, even if it is known by now.
		known := conn.Known()
		switch room := conn.Room(); {
		case found != nil:
		case !known:
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

// newSharedConn starts an HTTP/2 connection over conn, which it closes.
func newSharedConn(conn net.Conn, addr netip.AddrPort, watch func(h2.Frame)) *sharedConn {
	return &sharedConn{Conn: h2.Client(conn, h2.Config{IdleTimeout: clientIdle, Observe: watch}), addr: addr}
}
