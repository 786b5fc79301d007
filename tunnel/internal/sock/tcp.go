package sock

import (
	"net"
	"syscall"
	"time"
)

// TCP is a TCP connection: a *net.TCPConn or a *Conn.
type TCP interface {
	net.Conn
	syscall.Conn
	SetLinger(seconds int) error
}

// TCPOf returns the TCP connection beneath conn, or nil if there is none. It looks
// through every connection that has a method NetConn, as *tls.Conn does.
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

// keepAlive finds the dead peers of silent tunnels within about two minutes. Package
// vanish finds those of the others.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 60 * time.Second, Interval: 15 * time.Second, Count: 4}
