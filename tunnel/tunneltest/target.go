package tunneltest

import (
	"fmt"
	"io"
	"net"
)

// Echo is a Handler that sends every byte back. After end of file it half-closes.
func Echo(conn net.Conn) { Greet("")(conn) }

// Greet returns a Handler that sends a greeting first, as ssh and mail servers do, and then
// behaves as Echo.
func Greet(greeting string) Handler {
	return func(conn net.Conn) {
		if _, err := io.WriteString(conn, greeting); err != nil {
			return
		}
		if _, err := io.Copy(conn, conn); err == nil {
			CloseWrite(conn)
		}
	}
}

// Count is a Handler that reads to end of file and then sends "N bytes\n". Only a relay
// that passes a half-close on and keeps reading delivers that.
func Count(conn net.Conn) {
	n, err := io.Copy(io.Discard, conn)
	if err == nil {
		fmt.Fprintf(conn, "%d bytes\n", n)
	}
}

// Say returns a Handler that sends text and half-closes at once, before it reads.
func Say(text string) Handler {
	return func(conn net.Conn) {
		io.WriteString(conn, text)
		CloseWrite(conn)
		io.Copy(io.Discard, conn)
	}
}

// Silent is a Handler that reads to end of file and sends nothing.
func Silent(conn net.Conn) { io.Copy(io.Discard, conn) }

// ResetAfter returns a Handler that sends text, reads n bytes and resets the conn.
func ResetAfter(text string, n int64) Handler {
	return func(conn net.Conn) {
		io.WriteString(conn, text)
		io.CopyN(io.Discard, conn, n)
		Reset(conn)
	}
}

// Reset closes a TCP conn by RST instead of FIN.
func Reset(conn net.Conn) {
	if within, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = within.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
}

// CloseWrite half-closes a TCP or unix conn.
func CloseWrite(conn net.Conn) {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
}
