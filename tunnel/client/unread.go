package client

import (
	"bytes"
	"io"
	"net"
	"syscall"

	"culvert/tunnel/internal/sock"
)

// unreadReader reads from a conn whose socket will be handed over. A read ends after an
// empty line, and the bytes after that line stay in the socket: the line may be the end
// of the reply that opens the tunnel. Each read peeks first (MSG_PEEK), and then reads
// up to the empty line, but at least one byte, so that it never peeks at the same bytes
// again and again.
type unreadReader struct {
	conn net.Conn
	raw  syscall.RawConn
}

// newUnreadReader returns an unreadReader, or the conn itself if its socket cannot be
// peeked at. Conn.Buffered then reports what was read too early.
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

// Read reads at most up to the end of the next empty line.
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

// throughEmptyLine returns the number of bytes up to the end of the first empty line in
// b, or len(b) if there is none. As in package wire, a line ends in LF or CR LF. The rest
// of a line that began before b is treated as a line, so a read may end earlier than
// necessary, but never later.
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
