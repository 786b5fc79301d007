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

// CanHandOver reports whether HandOver will do for tunnels of this Client: this
// system passes sockets on, and there is no TLS and no HTTP/2 on the way.
func CanHandOver(c *client.Client) bool {
	return sock.CanPeek && c.TLS == nil && !slices.ContainsFunc(append([]tunnel.Route{c.Route}, c.Or...), func(r tunnel.Route) bool { return slices.ContainsFunc(r.Hops, tunnel.Hop.MayUseHTTP2) })
}

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
