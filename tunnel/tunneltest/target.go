package tunneltest

import (
	"fmt"
	"io"
	"net"
)

// Echo returns every byte. On end of file it half-closes and is done.
func Echo(conn net.Conn) { Greet("")(conn) }

// Greet speaks first, as ssh and mail servers do, and goes on as Echo.
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

// Count says how many bytes came, "N bytes\n", once end of file has come: only
// who passes a half-close on and keeps reading gets to see that.
func Count(conn net.Conn) {
	n, err := io.Copy(io.Discard, conn)
	if err == nil {
		fmt.Fprintf(conn, "%d bytes\n", n)
	}
}

// Say sends text and ends at once, whatever came in.
func Say(text string) Handler {
	return func(conn net.Conn) {
		io.WriteString(conn, text)
		CloseWrite(conn)
		io.Copy(io.Discard, conn)
	}
}

// Silent reads and never answers, until the other side ends.
func Silent(conn net.Conn) { io.Copy(io.Discard, conn) }

// ResetAfter sends text, waits for n bytes, and cuts the connection by a reset.
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
