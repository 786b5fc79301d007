package tunnel

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// past is a deadline that has passed for every clock.
var past = time.Unix(1, 0)

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
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return nil
		}
	}
}

// halfCloser is a conn that can send end of file and be read from afterwards.
type halfCloser interface{ CloseWrite() error }

// keepAlive finds dead peers of silent tunnels within about two minutes.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 60 * time.Second, Interval: 15 * time.Second, Count: 4}

// connectTCP opens one TCP connection with TCP_NODELAY (Go's default) and
// keepalive.
func connectTCP(ctx context.Context, ap netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: keepAlive}
	return d.DialContext(ctx, "tcp", ap.String())
}

// interruptible lets the context's end interrupt reads and writes on conn, and
// returns what lifts that again. A deadline left behind would cut the tunnel.
func interruptible(ctx context.Context, conn net.Conn) (release func()) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		conn.SetDeadline(past)
		close(done)
	})
	return func() {
		if !stop() {
			<-done
			conn.SetDeadline(time.Time{})
		}
	}
}

// relayBuffer is what one read of a relay fills at most.
type relayBuffer [32 << 10]byte

var relayBuffers = sync.Pool{New: func() any { return new(relayBuffer) }}
