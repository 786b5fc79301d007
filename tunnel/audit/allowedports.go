package audit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/internal/wire"
)

// allowedPorts are the ports to which proxies usually allow tunnels, the commonest
// first. Most refuse any other.
var allowedPorts = []uint16{443, 80, 8443, 8080}

// denied reports whether the reply is a refusal that may depend on the port. 407 is
// not one: it is about the client.
func denied(reply *wire.Reply) bool { return reply != nil && reply.Code >= 400 && reply.Code != 407 }

// findPort moves the target to the first of allowedPorts to which the proxy opens a
// tunnel. If it opens none, the target stays, and the words say what was tried.
func (b *bench) findPort(ctx context.Context, refusal *wire.Reply, words string) (*wire.Reply, string) {
	first, tried := b.target, []string{}
	for _, port := range allowedPorts {
		moved, err := listenOn(port)
		if err != nil {
			tried = append(tried, fmt.Sprintf("%d cannot be had here (%s)", port, err))
			continue
		}
		b.target, b.asked = moved, moved.announced
		reply, said := b.request(ctx, tunnelRequest)
		if reply != nil && reply.Code/100 == 2 {
			b.whyMoved = fmt.Sprintf("it refuses port %d with \"%s\"", first.announced.Port(), line(refusal))
			if len(tried) > 0 {
				b.whyMoved += ", and " + strings.Join(tried, ", ")
			}
			first.close()
			b.closed = b.closedBeside(ctx, port)
			return reply, said
		}
		moved.close()
		tried = append(tried, fmt.Sprintf("%d is refused too", port))
	}
	b.target, b.asked = first, first.announced
	return refusal, words + "; " + strings.Join(tried, ", ")
}

// listenOn starts a target on a port of 127.0.0.1. A port is taken if something
// answers on it, though some systems would let the target listen beside a wildcard
// listener.
func listenOn(port uint16) (*target, error) {
	address := fmt.Sprintf("127.0.0.1:%d", port)
	if conn, err := net.DialTimeout("tcp", address, time.Second); err == nil {
		conn.Close()
		return nil, errors.New("it is in use")
	}
	t, err := listenTarget(address, tunnel.Authority{}, nil)
	var cause *os.SyscallError
	if errors.As(err, &cause) {
		err = cause.Err
	}
	return t, err
}

// closedBeside returns an authority that the proxy allows and where nothing listens,
// on one of allowedPorts. If there is none, it returns any where nothing listens.
func (b *bench) closedBeside(ctx context.Context, taken uint16) tunnel.Authority {
	for _, port := range allowedPorts {
		if port == taken {
			continue
		}
		probe, err := listenOn(port)
		if err != nil {
			continue
		}
		closed := probe.announced
		probe.close()
		b.closed = closed
		if reply, _ := b.request(ctx, unreachedRequest); reply != nil && reply.Code >= 500 {
			return closed
		}
	}
	return b.target.unused()
}
