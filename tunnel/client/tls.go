package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"slices"
	"time"

	"culvert/tunnel"
)

// TLSHandshake is one TLS handshake, with a proxy or with the target. Parts of State that
// the handshake did not reach are zero.
type TLSHandshake struct {
	Hop        tunnel.Hop       // the proxy; the zero Hop for the target
	Target     tunnel.Authority // the host and port of the other side
	ServerName string           // verified; sent too, unless it is an address
	Started    time.Time
	Ended      time.Time
	State      tls.ConnectionState // with the chain as it was received
	Insecure   bool                // any certificate is accepted, see TLSOptions.Insecure
	Pinned     bool                // the key is one of TLSOptions.Pins
	TrustError error               // why the chain is not trusted, also if Insecure; nil if it is
	OutOfDate  bool                // TrustError is only about a date: at another time the chain is trusted
	NameError  error               // why the certificate is not for ServerName, also if Insecure; nil if it is
	Asked      bool                // the other side asked for a client certificate
	Shown      bool                // a client certificate was sent
	Err        error               // why the handshake failed, a *tunnel.Error; nil if it did not

	firstBytes []byte // the first bytes received, if the handshake failed
}

// maxFirstBytes bounds what is kept, for an error, of an answer that is not TLS.
const maxFirstBytes = 40

// Inside reports whether the handshake was with the target, inside the tunnel.
func (h *TLSHandshake) Inside() bool { return h.Hop.Proxy.IsZero() }

// Peer returns the host and port of the other side.
func (h *TLSHandshake) Peer() string { return h.Target.String() }

// Verified says in a few words what was verified of the other side, such as "the chain
// and the name".
func (h *TLSHandshake) Verified() string {
	switch {
	case h.Err != nil, h.Insecure && !h.Pinned:
		return "nothing"
	case h.Insecure:
		return "the pinned key alone"
	case h.Pinned:
		return "the chain, the name and the pinned key"
	}
	return "the chain and the name"
}

// secureHop speaks TLS with a proxy to which a tunnel's CONNECT will be sent. The proxy
// chooses between HTTP/1.1 and HTTP/2, unless the hop's scheme does. The caller closes
// the returned conn, or the given one after an error.
func (c *Client) secureHop(ctx context.Context, conn net.Conn, hop tunnel.Hop) (*clientTLS, *tunnel.Error) {
	if hop.Scheme == tunnel.SchemeH2 {
		return c.secureProxy(ctx, conn, hop, tunnel.ALPNHTTP2)
	}
	return c.secureProxy(ctx, conn, hop, tunnel.ALPNHTTP2, tunnel.ALPNHTTP1)
}

// secureProxy speaks TLS with a proxy, and offers the given protocols by ALPN.
func (c *Client) secureProxy(ctx context.Context, conn net.Conn, hop tunnel.Hop, protocols ...string) (*clientTLS, *tunnel.Error) {
	options := tunnel.TLSOptions{}
	if hop.TLS != nil {
		options = *hop.TLS
	}
	options.Protocols = protocols
	return c.secure(ctx, conn, &TLSHandshake{Hop: hop, Target: hop.Proxy}, options)
}

// secureTarget speaks TLS with the target, through the open tunnel.
func (c *Client) secureTarget(ctx context.Context, conn net.Conn, target tunnel.Authority) (*clientTLS, *tunnel.Error) {
	return c.secure(ctx, conn, &TLSHandshake{Target: target}, *c.TLS)
}

// secure makes a handshake, completes h, and passes it to the Trace.
func (c *Client) secure(ctx context.Context, conn net.Conn, h *TLSHandshake, options tunnel.TLSOptions) (*clientTLS, *tunnel.Error) {
	if h.ServerName = options.ServerName; h.ServerName == "" {
		h.ServerName = h.Target.Host()
	}
	if h.Inside() {
		c.waiting("TLS inside the tunnel with %s", h.Peer())
	} else {
		c.waiting("TLS with %s", h.Peer())
	}
	h.Insecure, h.Started = options.Insecure, time.Now()
	under := &watchedConn{Conn: conn}
	secured := &clientTLS{Conn: tls.Client(under, h.config(options)), under: under, handshake: h}
	err := secured.HandshakeContext(ctx)
	h.Ended = time.Now()
	var e *tunnel.Error
	if err != nil {
		h.firstBytes = under.firstBytes
		e = h.failure(ctx, err)
		h.Err = e
	}
	under.secured, under.firstBytes = true, nil
	if t := c.Trace; t != nil && t.Secured != nil {
		t.Secured(h)
	}
	if e != nil {
		return nil, e
	}
	return secured, nil
}

// config returns the configuration for crypto/tls. Verify verifies the certificate in
// place of crypto/tls, so that the version and the chain are known even if it fails.
func (h *TLSHandshake) config(options tunnel.TLSOptions) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: h.ServerName,
		NextProtos: options.Protocols,

		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			h.State = state
			return h.Verify(options)
		},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			h.Asked = true
			if options.Certificate == nil {
				return &tls.Certificate{}, nil // an empty one means none (RFC 8446, section 4.4.2)
			}
			h.Shown = true
			return options.Certificate, nil
		},
	}
}

// Verify verifies the chain (RFC 5280, section 6), the name (RFC 9525, section 6) and the
// key of the certificate in State, of which there must be one. It sets TrustError,
// OutOfDate, NameError and Pinned, and returns an error if the options do not accept the
// certificate.
func (h *TLSHandshake) Verify(options tunnel.TLSOptions) error {
	chain, now := h.State.PeerCertificates, time.Now()
	leaf := chain[0]
	if h.TrustError = VerifyChain(chain, options.Roots, now); h.TrustError != nil {
		outOfDate, err := VerifyChainAnyDate(chain, options.Roots, now)
		h.OutOfDate = outOfDate && err == nil
	}
	h.NameError = leaf.VerifyHostname(h.ServerName)
	h.Pinned = slices.Contains(options.Pins, tunnel.PinOf(leaf))
	switch {
	case !options.Insecure && h.TrustError != nil:
		return h.TrustError
	case !options.Insecure && h.NameError != nil:
		return h.NameError
	case len(options.Pins) > 0 && !h.Pinned:
		return errNotPinned
	}
	return nil
}

// VerifyChain returns why a chain, the peer's own certificate first, does not lead
// to one of the roots at the given time (RFC 5280, section 6); nil roots are the
// system's. It does not check which name the certificate is for.
func VerifyChain(chain []*x509.Certificate, roots *x509.CertPool, now time.Time) error {
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: now})
	return err
}

// VerifyChainAnyDate is VerifyChain for a chain that may have expired, or may not be
// valid yet. If that is so, outOfDate is true, and err is the result for the moment
// at which the peer's own certificate became valid.
func VerifyChainAnyDate(chain []*x509.Certificate, roots *x509.CertPool, now time.Time) (outOfDate bool, err error) {
	err = VerifyChain(chain, roots, now)
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return true, VerifyChain(chain, roots, chain[0].NotBefore.Add(time.Minute))
	}
	return false, err
}
