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

// TLSHandshake is one TLS handshake on the way. Parts of State that it did not
// come to are zero.
type TLSHandshake struct {
	Hop        tunnel.Hop       // the proxy spoken to; the zero Hop for the target
	Target     tunnel.Authority // the host and port at the other end
	ServerName string           // sent, unless it is an address, and verified
	Started    time.Time
	Ended      time.Time
	State      tls.ConnectionState // with the chain as it was sent
	Insecure   bool                // any certificate would do
	Pinned     bool                // the key is one of TLSOptions.Pins
	TrustError error               // why the chain is not to be trusted; judged under Insecure as well
	OutOfDate  bool                // TrustError is about a date alone: the chain was to be trusted, or will be
	NameError  error               // why the certificate is not for ServerName; likewise
	Asked      bool                // the other side asked for a certificate of ours ...
	Shown      bool                // ... and got one
	Err        error               // why there is no TLS, an *Error; nil if there is

	firstBytes []byte // the first bytes that came, if it failed
}

// maxFirstBytes is how much of what is no TLS is kept to be shown.
const maxFirstBytes = 40

// Inside reports whether this is the target's, inside the tunnel.
func (h *TLSHandshake) Inside() bool { return h.Hop.Proxy.IsZero() }

// Peer names the other side as a sentence does: host:port.
func (h *TLSHandshake) Peer() string { return h.Target.String() }

// Verified says in a few words what the trust in the other side rests on; "nothing"
// where there is none.
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

// secureHop speaks TLS with a proxy, which chooses the protocol. On an error the
// conn is still to be closed by the caller, else the conn that is returned.
func (c *Client) secureHop(ctx context.Context, conn net.Conn, hop tunnel.Hop) (*clientTLS, *tunnel.Error) {
	if hop.Scheme == tunnel.SchemeH2 {
		return c.secureProxy(ctx, conn, hop, tunnel.ALPNHTTP2)
	}
	return c.secureProxy(ctx, conn, hop, tunnel.ALPNHTTP2, tunnel.ALPNHTTP1)
}

// secureProxy is secureHop for certain protocols.
func (c *Client) secureProxy(ctx context.Context, conn net.Conn, hop tunnel.Hop, protocols ...string) (*clientTLS, *tunnel.Error) {
	options := tunnel.TLSOptions{}
	if hop.TLS != nil {
		options = *hop.TLS
	}
	options.Protocols = protocols
	return c.secure(ctx, conn, &TLSHandshake{Hop: hop, Target: hop.Proxy}, options)
}

// secureTarget is secureHop with the target, through the open tunnel.
func (c *Client) secureTarget(ctx context.Context, conn net.Conn, target tunnel.Authority) (*clientTLS, *tunnel.Error) {
	return c.secure(ctx, conn, &TLSHandshake{Target: target}, *c.TLS)
}

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

// config leaves the verification to verify, so that version and chain are known
// even if it fails.
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
				return &tls.Certificate{}, nil // RFC 8446, section 4.4.2: none
			}
			h.Shown = true
			return options.Certificate, nil
		},
	}
}

// Verify judges the chain (RFC 5280, section 6), the name (RFC 9525, section 6)
// and the key.
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
