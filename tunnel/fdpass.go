package tunnel

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// CanHandOver reports whether this system passes sockets on at all.
const CanHandOver = canPeek

// ErrNotBare is HandOver's for a tunnel that is more than its socket: bytes of
// the target's were read already, or the conn is no socket. Such a tunnel can
// only be relayed.
var ErrNotBare = errors.New("the tunnel cannot be handed over: it is more than a socket")

// HandOver gives the tunnel's socket to the process at the other end of out, a
// unix socket that passes CheckHandOver: one byte of zero with the descriptor
// beside it (SCM_RIGHTS), as ssh's ProxyUseFdpass wants it. The socket goes
// blocking, as a new one is; TCP_NODELAY and keepalive are set on it. Have
// Client.KeepUnread set before Open, so that everything the target has sent is
// still in it.
//
// On success the Conn is closed, which does not end the tunnel: that is the
// other process's now. On an error it remains the caller's. ErrOutputClosed is
// for another end that is gone, errors.ErrUnsupported for a system other than
// unix.
func (c *Conn) HandOver(out *os.File) error {
	bare, ok := c.Conn.(syscall.Conn)
	if !ok || len(c.early) > 0 {
		return ErrNotBare
	}
	raw, err := bare.SyscallConn()
	if err == nil {
		err = sendSocket(out, raw)
	}
	switch {
	case err == nil:
		c.Conn.Close()
		return nil
	case errors.Is(err, errors.ErrUnsupported):
		return err
	case outputClosed(err):
		return ErrOutputClosed
	}
	return &os.PathError{Op: "hand the socket over through", Path: out.Name(), Err: plainError(err)}
}

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
	if !ok || !canPeek {
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
	n, err := peek(r.raw, b)
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
