package client

import (
	"bytes"
	"io"
	"net"
	"syscall"

	"culvert/tunnel/internal/sock"
)

// unreadReader reads a conn whose socket is going to be handed over. A read
// ends with an empty line if one is there, and the bytes behind it stay in the
// socket: an empty line may be the end of the reply that opens the tunnel. Each
// read looks first (MSG_PEEK) and then takes what it may, at least a byte, so
// that it never waits in circles for a head that does not grow.
type unreadReader struct {
	conn net.Conn
	raw  syscall.RawConn
}

// newUnreadReader returns an unreadReader, or the conn itself if that cannot be
// looked into; what is read too early then makes HandOver refuse.
func newUnreadReader(conn net.Conn) io.Reader {
	bare, ok := conn.(syscall.Conn)
	if !ok || !sock.CanPeek {
		return conn
	}
	raw, err := bare.SyscallConn()
	if err != nil {
		return conn
	}
	return &unreadReader{conn: conn, raw: raw}
}

// Read reads at most through the next empty line.
func (r *unreadReader) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, err := sock.Peek(r.raw, b)
	if err != nil {
		return 0, err
	}
	return r.conn.Read(b[:throughEmptyLine(b[:n])])
}

// throughEmptyLine returns how many bytes of b there are through the end of the
// first empty line, all if there is none. As for package wire, a line ends in
// LF or CR LF. The rest of a line that began before b counts as a line, so that
// a read may end sooner than it must, but never later.
func throughEmptyLine(b []byte) int {
	rest := b
	for {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		switch {
		case !ended:
			return len(b)
		case len(line) == 0 || string(line) == "\r":
			return len(b) - len(after)
		}
		rest = after
	}
}
