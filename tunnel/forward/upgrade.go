package forward

import (
	"io"
	"net/http"
	"time"

	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/wire"
	"culvert/tunnel/relay"
)

// upgradeProtocol serves a request that offers to change the protocol, such as to
// WebSocket (RFC 9110, section 7.8). It sends the request on a connection of its own,
// which leads through parents as a tunnel. A 101 makes both connections a tunnel; any
// other reply is forwarded as usual.
func (x *exchange) upgradeProtocol() Next {
	next, e := x.host().DialTunnel(x.exchanges.ctx, &x.Incoming) // the watch has not begun
	if e != nil {
		return x.refuse(e)
	}
	early := &sock.Early{Conn: next.Conn, Unread: next.Early}
	x.switching = true
	x.started = time.Now()
	watch := &x.exchanges.watch
	watch.start(x)
	u := new(upstream) // without a slot: the request holds its descriptor
	u.connected(early)
	x.use(u)
	reply, err := x.ask()
	if err == nil && x.agrees(reply) {
		return x.switchProtocols(reply, early, watch)
	}
	return x.reply(reply, err, watch)
}

// agrees reports whether the reply changes to protocols that were offered.
func (x *exchange) agrees(reply *wire.Reply) bool {
	none := true
	for _, protocol := range wire.Tokens(reply.Values("Upgrade")) {
		if !wire.HasToken([]string{x.upgrade}, protocol) {
			return false
		}
		none = false
	}
	return !none && reply.Code == http.StatusSwitchingProtocols
}

// switchProtocols sends the 101 to the client, and makes both connections a tunnel.
func (x *exchange) switchProtocols(reply *wire.Reply, next *sock.Early, watch *clientWatch) Next {
	first := make([]byte, x.upstream.br.Buffered())
	_, _ = io.ReadFull(x.upstream.br, first) // cannot fail: all of it is in memory
	u := x.forgetUpstream()
	end := watch.stop()
	u.rest()
	protocols := joined(reply.Fields, "Upgrade")
	h := ReplyHead{Code: reply.Code, Reason: reasonOf(reply), Fields: appendVia(endToEnd(reply.Fields), x.exchanges.forwarder.via[reply.Minor])}
	err := x.exchanges.wire.Switch(&h, protocols)
	if err != nil || end != clientThere {
		next.Close()
		return x.clientLeft(err)
	}
	x.Record.Status = reply.Code
	x.host().Tunnel(&x.Incoming, x.exchanges.wire.Give(), relay.Side{Conn: next.Conn, Early: append(first, next.Unread...)})
	return NextClose
}
