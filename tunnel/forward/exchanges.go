package forward

import (
	"context"
	"net"

	"culvert/tunnel"
	"culvert/tunnel/internal/wire"
)

// Exchanges serves the requests of one client connection, one after the other, and
// holds what they share.
type Exchanges struct {
	forwarder *Forwarder
	conn      net.Conn
	wire      Wire

	ctx    context.Context // of all requests; done when everything must end
	cancel context.CancelFunc
	own    *pool // of connections that serve this client only; nil = it shares the Forwarder's
	watch  clientWatch
	last   writtenTarget
	head   []byte // the buffer of outgoing heads
	reply  wire.Scratch
}

// NewExchanges returns the Exchanges of a client connection. When ctx ends, the
// exchange under way ends too. The wire w reads and writes conn, whose deadlines
// interrupt both. The caller owns conn, unless Wire.Give gives it away, and closes the
// Exchanges after Serve has returned.
func (f *Forwarder) NewExchanges(ctx context.Context, conn net.Conn, w Wire) *Exchanges {
	es := &Exchanges{forwarder: f, conn: conn, wire: w}
	es.ctx, es.cancel = context.WithCancel(ctx)
	return es
}

// Close releases what the requests shared, and closes idle connections to origins that
// served this client only.
func (es *Exchanges) Close() {
	es.watch.close()
	es.cancel()
	if es.own != nil {
		es.own.close()
	}
}

// writtenTarget is a target as requests have it written. The target seldom changes from
// one request of a connection to the next.
type writtenTarget struct {
	target    tunnel.Authority
	hostField string
}

func (w *writtenTarget) set(target tunnel.Authority) {
	if w.target != target {
		*w = writtenTarget{target, target.HostHeader(80)}
	}
}
