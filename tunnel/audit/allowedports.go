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

// allowedPorts are those to which proxies are told to open tunnels, the commonest
// first. Any other port of the target's is one that most do not allow.
var allowedPorts = []uint16{443, 80, 8443, 8080}

// denied reports a refusal that another port may do away with. 407 is none: it is
// about the client.
func denied(reply *wire.Reply) bool { return reply != nil && reply.Code >= 400 && reply.Code != 407 }

// findPort moves the target to the first of allowedPorts to which the proxy opens
// a tunnel. Where it opens none the target stays, and the words say what was
// tried.
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

// listenOn starts a target on a port of 127.0.0.1. A port on which somebody else
// answers is taken, though some systems would let us have it beside a wildcard.
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

// closedBeside is a port that the proxy allows and where nothing listens, among
// allowedPorts; any closed port if there is none.
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
