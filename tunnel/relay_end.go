package tunnel

import (
	"net"
	"sync"
	"syscall"
	"time"
)

// past is a deadline that has passed for every clock.
var past = time.Unix(1, 0)

// bareConn is a conn of this package that adds nothing to the stream of the
// conn within, so that the relay may read and write that one in its stead.
// NetConn does not say so: tls.Conn has it too.
type bareConn interface {
	net.Conn
	bareConn() net.Conn
}

// relayEnd is one of the relay's two conns.
type relayEnd struct {
	conn  net.Conn // what the bytes go through
	given net.Conn // conn or what wraps it: the one to close
	by    ClosedBy
	raw   syscall.RawConn // conn's descriptor; nil if conn is more than a socket
	heart syscall.RawConn // the socket within conn, which may be more; nil if there is none
	once  sync.Once       // closes given

	broken bool // guarded by relay.mu: it was reset or could not be written to
	closed bool // guarded by relay.mu: by us, being unable to half-close
}

func (e *relayEnd) init(conn net.Conn, by ClosedBy) {
	e.given, e.conn, e.by = conn, conn, by
	for {
		bare, ok := e.conn.(bareConn)
		if !ok {
			break
		}
		e.conn = bare.bareConn()
	}
	e.raw = socketOf(e.conn)
	e.heart = e.raw
	if tcp := tcpOf(conn); tcp != nil && e.raw == nil {
		e.heart = socketOf(tcp)
	}
}

// wake makes whoever waits for e return. The conn stays open until both
// directions have left it: a Close could block, as TLS does to say goodbye.
func (e *relayEnd) wake() {
	if e.conn.SetDeadline(past) != nil {
		e.close()
	}
}

func (e *relayEnd) close() { e.once.Do(func() { _ = e.given.Close() }) }

type halfCloser interface{ CloseWrite() error }

// halfCloser finds a CloseWrite that a wrapper may hide.
func (e *relayEnd) halfCloser() (halfCloser, bool) {
	if half, ok := e.given.(halfCloser); ok {
		return half, true
	}
	half, ok := e.conn.(halfCloser)
	return half, ok
}

// tcpConn is a TCP connection: a *net.TCPConn, or a socket.
type tcpConn interface {
	net.Conn
	syscall.Conn
	SetLinger(seconds int) error
}

// tcpOf returns the TCP conn at the heart of conn, or nil.
func tcpOf(conn net.Conn) tcpConn {
	for {
		switch c := conn.(type) {
		case tcpConn:
			return c
		case bareConn:
			conn = c.bareConn()
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return nil
		}
	}
}
