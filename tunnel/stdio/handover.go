package stdio

import (
	"errors"
	"os"
	"slices"
	"syscall"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/sock"
)

// CanHandOver reports whether HandOver works for the tunnels of a Client: this system
// can pass sockets on, and there is neither TLS nor HTTP/2 on any of its routes.
func CanHandOver(c *client.Client) bool {
	return sock.CanPeek && c.TLS == nil && !slices.ContainsFunc(append([]tunnel.Route{c.Route}, c.Or...), func(r tunnel.Route) bool { return slices.ContainsFunc(r.Hops, tunnel.Hop.MayUseHTTP2) })
}

// ErrNotBare means that a tunnel cannot be handed over because it is more than a
// socket: bytes of the target were read already, or the connection is no socket. Such
// a tunnel can only be relayed.
var ErrNotBare = errors.New("the tunnel cannot be handed over: it is more than a socket")

// HandOver passes the socket of a tunnel to the process at the other end of out, a unix
// socket for which CheckHandOver returns nil. It sends one zero byte together with the
// descriptor (SCM_RIGHTS), as ssh's ProxyUseFdpass wants it. The socket is made
// blocking, as a new one is; TCP_NODELAY and keepalive are set. The Client must have
// had KeepUnread set at Open, so that everything the target has sent is still in the
// socket.
//
// On success the Conn is closed. This does not end the tunnel, which now belongs to
// the other process. After an error the Conn is still the caller's. The error is
// ErrNotBare if there is more than a socket, ErrOutputClosed if the other end of out
// is closed, and errors.ErrUnsupported on a system that is not unix.
func HandOver(c *client.Conn, out *os.File) error {
	bare, ok := c.NetConn().(syscall.Conn)
	if !ok || c.Buffered() > 0 {
		return ErrNotBare
	}
	raw, err := bare.SyscallConn()
	if err == nil {
		err = sendSocket(out, raw)
	}
	switch {
	case err == nil:
		c.NetConn().Close()
		return nil
	case errors.Is(err, errors.ErrUnsupported):
		return err
	case outputClosed(err):
		return ErrOutputClosed
	}
	return &os.PathError{Op: "hand the socket over through", Path: out.Name(), Err: neterr.Plain(err)}
}

// RelayOrders are what a RelayProcess needs to know.
type RelayOrders struct {
	Words []string // the command line, without the program's name

	// Credentials are those of the hops of Client.Route and of Client.Or, in order,
	// whatever they came from: a person is not asked twice, and a pipe cannot be read
	// twice.
	Credentials []*tunnel.Credentials
}
