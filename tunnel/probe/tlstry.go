package probe

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
)

// tlsTryTime bounds a TLSTry.
const defaultTLSTryTimeout = 2 * time.Second

// TLSTry is a further connection to a proxy that hung up on plain HTTP without a
// byte, as those do that speak TLS alone. It shows no credentials, and verifies
// nothing.
type TLSTry struct {
	Hop    string `json:"hop"`
	Speaks bool   `json:"speaks_tls"`
	Words  string `json:"words"` // what came of it
	Took   Micros `json:"took_us"`
}

// tryTLS makes it where it can tell something, else it is nil. Only the first hop
// can be met without asking another for a tunnel once more.
func (p *Prober) tryTLS(ctx context.Context, opener *client.Client, e *tunnel.Error, rec *recording) *TLSTry {
	hungUp := (e.Phase == tunnel.PhaseRequest || e.Phase == tunnel.PhaseReply) && e.Type == tunnel.ErrorConnectionTerminated && (e.Answer == nil || e.Answer.Start == nil)
	if p.noFurtherConnections || !hungUp || e.Scheme != tunnel.SchemeHTTP || len(rec.exchanges) != 1 || ctx.Err() != nil {
		return nil
	}
	hop := opener.Route.Hops[0]
	if hop.Scheme != e.Scheme || hop.Name() != e.Hop {
		return nil
	}
	p.waiting("%s to speak TLS", hop.Name())
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(p.tlsTryTimeout, defaultTLSTryTimeout))
	defer cancel()
	started, try := time.Now(), &TLSTry{Hop: hop.Name(), Words: "it could not be connected to"}
	again := opener.Clone()
	again.Route, again.Trace, again.Timeout = tunnel.Route{Hops: opener.Route.Hops[:1]}, nil, -1 // tlsTryTime bounds it
	if conn, err := again.OpenProxy(ctx); err == nil {
		try.handshake(ctx, conn, hop)
		conn.Close()
	}
	try.Took = micros(time.Since(started))
	return try
}

// greet sends a ClientHello, and looks how the answer begins.
func (t *TLSTry) handshake(ctx context.Context, conn net.Conn, hop tunnel.Hop) {
	config := &tls.Config{InsecureSkipVerify: true} // no more is said than that TLS is wanted
	if !hop.Proxy.Addr().IsValid() {
		config.ServerName = hop.Proxy.Host()
	}
	under := &prefixConn{Conn: conn}
	tls.Client(under, config).HandshakeContext(ctx)
	switch t.Speaks = startsTLS(under.prefix); {
	case t.Speaks:
		t.Words = "it speaks TLS"
	case len(under.prefix) > 0:
		t.Words = "it answered, but not in TLS"
	default:
		t.Words = "no answer to that either"
	}
}

// startOf keeps the first bytes that come over its conn.
type prefixConn struct {
	net.Conn
	prefix []byte
}

// maxStart is enough of an answer to tell whether it is TLS.
const maxPrefix = 16

// Read keeps what comes until there is enough.
func (c *prefixConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.prefix = append(c.prefix, b[:min(n, maxPrefix-len(c.prefix))]...)
	return n, err
}

// startsTLS reports whether bytes begin a record of an alert or a handshake (RFC
// 8446, section 5.1).
func startsTLS(raw []byte) bool {
	return bytes.HasPrefix(raw, []byte{21, 3}) || bytes.HasPrefix(raw, []byte{22, 3})
}
