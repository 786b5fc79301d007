package audit

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"culvert/tunnel"
)

// target is the other end of the audit's tunnels, and the origin server of its plain
// requests.
type target struct {
	listener  net.Listener
	announced tunnel.Authority
	running   sync.WaitGroup

	mu       sync.Mutex
	handler  func(net.Conn)
	conns    map[net.Conn]struct{}
	accepted int
	closed   bool
	reserved []func() // each releases a reserved port
}

// targetTime limits every connection of a target, so that none outlives its check for
// long.
const targetTime = 5 * time.Minute

// ListenError reports that the audit's own target cannot listen.
type ListenError struct{ Err error }

// Error returns the reason.
func (e *ListenError) Error() string { return "the audit's target cannot listen: " + e.Err.Error() }

// Unwrap returns Err.
func (e *ListenError) Unwrap() error { return e.Err }

// listenTarget starts a target. The proxy is asked to connect to announce. If that is
// zero, it is asked for the listener's address or, for a wildcard listener, the IP
// address of local, from which the proxy was reached.
func listenTarget(listen string, announce tunnel.Authority, local net.Addr) (*target, error) {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, &ListenError{Err: err}
	}
	t := &target{listener: l, announced: announce, conns: make(map[net.Conn]struct{})}
	if announce.IsZero() {
		addr := l.Addr().(*net.TCPAddr)
		host := addr.IP
		if seen, ok := local.(*net.TCPAddr); ok && host.IsUnspecified() {
			host = seen.IP
		}
		if t.announced, err = tunnel.NewAuthority(host.String(), uint16(addr.Port)); err != nil {
			l.Close()
			return nil, err
		}
	}
	t.running.Go(t.accept)
	return t, nil
}

// accept gives each connection to the handler until the target is closed.
func (t *target) accept() {
	for {
		conn, err := t.listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(10 * time.Millisecond) // this process may have run out of descriptors
			continue
		}
		t.mu.Lock()
		handler := t.handler
		if handler == nil || t.closed {
			t.mu.Unlock()
			conn.Close()
			continue
		}
		t.accepted++
		t.conns[conn] = struct{}{}
		t.mu.Unlock()
		_ = conn.SetDeadline(time.Now().Add(targetTime))
		t.running.Go(func() {
			defer func() {
				conn.Close()
				t.mu.Lock()
				delete(t.conns, conn)
				t.mu.Unlock()
			}()
			handler(conn)
		})
	}
}

// serve sets the handler for connections from now on.
func (t *target) serve(handler func(net.Conn)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.handler, t.accepted = handler, 0
}

// closeConns closes all connections, and those that come until the next serve.
func (t *target) closeConns() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.handler = nil
	for c := range t.conns {
		c.Close()
	}
}

// close stops the target and waits for its handlers.
func (t *target) close() {
	t.mu.Lock()
	t.closed = true
	for _, release := range t.reserved {
		release()
	}
	t.reserved = nil
	t.mu.Unlock()
	t.listener.Close()
	t.closeConns()
	t.running.Wait()
}

// reached returns how many connections came since serve.
func (t *target) reached() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.accepted
}

// unused returns an authority with the target's host where nothing listens for as long
// as the target is open; zero if there is none.
func (t *target) unused() tunnel.Authority {
	port, release, err := reservePort(t.listener.Addr().(*net.TCPAddr).AddrPort().Addr().WithZone("").Unmap())
	if err != nil {
		return tunnel.Authority{}
	}
	a, err := tunnel.NewAuthority(t.announced.Host(), port)
	if err != nil {
		release()
		return tunnel.Authority{}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reserved = append(t.reserved, release)
	return a
}

// echo sends every byte back, and passes a half-close on.
func echo(conn net.Conn) {
	_, _ = io.Copy(conn, conn)
	closeWrite(conn)
}

// countBytes answers end of file with the number of bytes that came before.
func countBytes(conn net.Conn) {
	n, err := io.Copy(io.Discard, conn)
	if err == nil {
		fmt.Fprintf(conn, "%d bytes\n", n)
		closeWrite(conn)
	}
}

// closeWrite half-closes conn, if it can be.
func closeWrite(conn net.Conn) {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}
