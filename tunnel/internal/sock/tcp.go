package sock

import (
	"context"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// TCP is a TCP connection: a *net.TCPConn, or a socket.
type TCP interface {
	net.Conn
	syscall.Conn
	SetLinger(seconds int) error
}

// TCPOf returns the TCP conn at the heart of conn, or nil.
func TCPOf(conn net.Conn) TCP {
	for {
		switch c := conn.(type) {
		case TCP:
			return c
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return nil
		}
	}
}

// HalfCloser is a conn that can send end of file and be read from afterwards.
type HalfCloser interface{ CloseWrite() error }

// keepAlive finds dead peers of silent tunnels within about two minutes.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 60 * time.Second, Interval: 15 * time.Second, Count: 4}

// Dial opens one TCP connection with TCP_NODELAY (Go's default) and
// keepalive.
func Dial(ctx context.Context, ap netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: keepAlive}
	return d.DialContext(ctx, "tcp", ap.String())
}
