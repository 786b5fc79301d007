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

// defaultTLSTryTimeout bounds a TLSTry.
const defaultTLSTryTimeout = 2 * time.Second

// TLSTry is a further connection, with TLS, to a proxy that closed the first one
// without a byte, as proxies do that speak only TLS. It sends no credentials and
// verifies nothing.
type TLSTry struct {
	Hop    string `json:"hop"`
	Speaks bool   `json:"speaks_tls"`
	Words  string `json:"words"` // the result in words
	Took   Micros `json:"took_us"`
}

// tryTLS makes a TLSTry if that can tell something, and returns nil otherwise. It
// tries the first hop only: any other would take a further tunnel.
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
	again.Route, again.Trace, again.Timeout = tunnel.Route{Hops: opener.Route.Hops[:1]}, nil, -1 // ctx bounds it
	if conn, err := again.OpenProxy(ctx); err == nil {
		try.handshake(ctx, conn, hop)
		conn.Close()
	}
	try.Took = micros(time.Since(started))
	return try
}

// handshake sends a ClientHello, and examines the first bytes of the answer.
func (t *TLSTry) handshake(ctx context.Context, conn net.Conn, hop tunnel.Hop) {
	config := &tls.Config{InsecureSkipVerify: true} // it only asks for TLS
	if !hop.Proxy.Addr().IsValid() {
		config.ServerName = hop.Proxy.Host()
	}
	start := &prefixConn{Conn: conn}
	tls.Client(start, config).HandshakeContext(ctx)
	switch t.Speaks = startsTLS(start.prefix); {
	case t.Speaks:
		t.Words = "it speaks TLS"
	case len(start.prefix) > 0:
		t.Words = "it answered, but not in TLS"
	default:
		t.Words = "no answer to that either"
	}
}

// prefixConn keeps the first bytes that are read from its conn.
type prefixConn struct {
	net.Conn
	prefix []byte
}

// maxPrefix bytes are enough to tell whether an answer is TLS.
const maxPrefix = 16

// Read keeps what it returns, up to maxPrefix bytes in all.
func (c *prefixConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.prefix = append(c.prefix, b[:min(n, maxPrefix-len(c.prefix))]...)
	return n, err
}

// startsTLS reports whether raw begins with a TLS record of an alert or a handshake
// (RFC 8446, section 5.1).
func startsTLS(raw []byte) bool {
	return bytes.HasPrefix(raw, []byte{21, 3}) || bytes.HasPrefix(raw, []byte{22, 3})
}
