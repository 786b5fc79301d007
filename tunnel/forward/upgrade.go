package forward

import (
	"bufio"
	"context"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/wire"
	"culvert/tunnel/relay"
)

// upgradeProtocol serves a request that offers to change the protocol, such as to
// WebSocket (RFC 9110, section 7.8). It sends the request on a connection of its own,
// which leads through parents as a tunnel. A 101 makes both connections a tunnel; any
// other reply is forwarded as usual.
func (x *exchange) upgradeProtocol() Next {
	next, e := x.host().DialTunnel(x.exchanges.ctx, &x.Incoming)
	if e != nil {
		return x.refuse(e)
	}
	early := &sock.Early{Conn: next.Conn, Unread: next.Early}
	upstream := &upstreamConn{Conn: early}
	x.upstream = upstream
	upstream.carry(x)
	ctx, cancel := context.WithCancel(x.exchanges.ctx)
	defer cancel()
	release := sock.InterruptOnDone(ctx, upstream)
	x.started = time.Now()
	watch := &x.exchanges.watch
	watch.start(x, cancel)
	reply, br, err := x.askUpgrade(ctx, upstream)
	if err == nil && x.agrees(reply) {
		end := watch.stop()
		release()
		if err = x.switchProtocols(reply); err == nil && end == clientThere {
			x.Record.Status = reply.StatusCode
			first := make([]byte, br.Buffered())
			io.ReadFull(br, first)
			x.host().Tunnel(&x.Incoming, x.exchanges.wire.Give(), relay.Side{Conn: next.Conn, Early: append(first, early.Unread...)})
			return NextClose
		}
		upstream.Close()
		x.host().Release(&x.Incoming)
		return x.clientLeft(err)
	}
	defer upstream.Close()
	x.host().Release(&x.Incoming)
	x.interim.close()
	if err == nil {
		err = x.checkReply(reply)
	}
	if err != nil {
		return x.failure(err, watch.stop())
	}
	out := x.respond(reply)
	return x.served(reply.StatusCode, out, watch.stop())
}

// askUpgrade sends the request and reads the head of the reply.
func (x *exchange) askUpgrade(ctx context.Context, upstream net.Conn) (*http.Response, *bufio.Reader, error) {
	route := x.route
	x.route = tunnel.Route{} // connected to the origin: it gets origin-form
	out := x.outgoing(ctx)
	x.route = route
	out.Header["Connection"], out.Header["Upgrade"] = []string{"Upgrade"}, []string{x.upgrade}
	if err := out.Write(upstream); err != nil {
		return nil, nil, err
	}
	bounded := &io.LimitedReader{R: upstream}
	br := bufio.NewReader(bounded)
	for {
		bounded.N = maxReplyHead
		if _, err := br.Peek(1); err != nil {
			return nil, nil, err
		}
		x.interim.beginHead()
		reply, err := http.ReadResponse(br, out)
		if err != nil {
			return nil, nil, err
		}
		if reply.StatusCode >= 200 || reply.StatusCode == http.StatusSwitchingProtocols {
			bounded.N = math.MaxInt64
			return reply, br, nil
		}
		x.interim.pass(reply.StatusCode, map[string][]string(reply.Header))
	}
}

// agrees reports whether the reply changes to protocols that were offered.
func (x *exchange) agrees(reply *http.Response) bool {
	protocols := wire.Tokens(reply.Header["Upgrade"])
	for _, p := range protocols {
		if !wire.HasToken([]string{x.upgrade}, p) {
			return false
		}
	}
	return len(protocols) > 0 && reply.StatusCode == http.StatusSwitchingProtocols && reply.ProtoMajor == 1
}

// switchProtocols sends the 101 to the client.
func (x *exchange) switchProtocols(reply *http.Response) error {
	protocols := strings.Join(reply.Header["Upgrade"], ", ")
	removeHopByHop(reply.Header)
	appendVia(reply.Header, min(reply.ProtoMinor, 1), x.exchanges.forwarder.via)
	return x.exchanges.wire.Switch(reply, protocols)
}
