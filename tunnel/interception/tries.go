package interception

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"strings"
	"sync"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
)

// Run makes further handshakes along the route of opener, the Client that opened a
// tunnel to target, and weighs what they show. h is the handshake with the target
// in that tunnel, times are those of its opening. Run uses a copy of opener without
// its Trace. It returns nil if h is nil or no certificate came. It waits for all
// its handshakes, which end with ctx.
func (c *Check) Run(ctx context.Context, opener *client.Client, target tunnel.Authority, h *client.TLSHandshake, times Times) *Result {
	if h == nil || len(h.State.PeerCertificates) == 0 {
		return nil
	}
	return c.gather(ctx, opener, target, h, times).weigh()
}

// gather makes the handshakes.
func (c *Check) gather(ctx context.Context, opener *client.Client, target tunnel.Authority, h *client.TLSHandshake, times Times) *facts {
	f := &facts{now: h.Started, target: c.peerOf(h, opener.TLS), pinned: h.Pinned, times: times}
	f.named = f.target.byNamedRoot && f.target.nameError == nil
	if f.systemError = client.VerifyChain(f.target.chain, nil, f.now); f.systemError == nil {
		f.systemError = f.target.nameError
	}
	patience := c.patience(times.Opening)
	var tries sync.WaitGroup
	try := func(result **peer, route tunnel.Route, target tunnel.Authority, name string) {
		patience := patience
		if route.Direct() {
			patience = directPatience(patience, f.target.public())
		}
		tries.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			*result = c.handshake(ctx, opener, route, target, name)
		})
	}
	if !c.NoDirect {
		try(&f.direct, tunnel.Route{}, target, h.ServerName)
	}
	if !f.target.public() {
		unrelated := c.unrelated(target, h.ServerName)
		f.unrelated = make([]*peer, len(unrelated))
		for i, u := range unrelated {
			try(&f.unrelated[i], opener.Route, u, u.Host())
		}
		nowhere := nonexistentName()
		if a, err := tunnel.ParseTarget(nowhere + ":443"); err == nil {
			try(&f.nonexistent, opener.Route, a, nowhere)
		}
		try(&f.invented, opener.Route, target, nonexistentName())
	}
	tries.Wait()
	c.complete(f)
	return f
}

// complete verifies the target's chain once more with the certificates that other
// peers sent: many servers forget to send the intermediate ones.
func (c *Check) complete(f *facts) {
	if f.target.publicError == nil {
		return
	}
	chain := slices.Clone(f.target.chain)
	for _, p := range append(slices.Clone(f.unrelated), f.direct) {
		if p.hasChain() {
			chain = append(chain, p.chain[1:]...)
		}
	}
	if expired, err := client.VerifyChainAnyDate(chain, c.publicRoots(), f.now); err == nil {
		f.target.publicError, f.target.expired, f.target.incomplete = nil, expired, true
	}
}

// patience is enough for another handshake if the first one took that long.
func (c *Check) patience(took time.Duration) time.Duration {
	if c.Patience > 0 {
		return c.Patience
	}
	return min(max(defaultPatience, 2*took), maxPatience)
}

// directPatience is for the direct way, which is often closed, and which a slow
// proxy does not slow down. It can add nothing to a public certificate.
func directPatience(patience time.Duration, public bool) time.Duration {
	if public {
		return min(patience, publicPatience)
	}
	return min(patience, defaultPatience)
}

// nonexistentName makes a host name that no resolver may know (RFC 6761, section
// 6.4), and that nobody can have a certificate ready for.
func nonexistentName() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // never fails
	return "culvert-" + hex.EncodeToString(b) + ".invalid"
}

// unrelated lists the hosts to compare with. The target, and the name that its
// certificate was verified for, would show the target's own certificate.
func (c *Check) unrelated(target tunnel.Authority, name string) []tunnel.Authority {
	names := slices.Clone(c.Unrelated)
	if c.Unrelated == nil {
		for _, s := range defaultUnrelated {
			if a, err := tunnel.ParseTarget(s); err == nil {
				names = append(names, a)
			}
		}
	}
	names = slices.DeleteFunc(names, func(a tunnel.Authority) bool {
		return a.Host() == target.Host() || strings.EqualFold(a.Host(), strings.TrimSuffix(name, "."))
	})
	if c.Unrelated == nil {
		names = names[:min(2, len(names))]
	}
	return names
}

// handshake speaks TLS with target under the given name, and accepts any
// certificate. It sends no certificate of the user's.
func (c *Check) handshake(ctx context.Context, opener *client.Client, route tunnel.Route, target tunnel.Authority, name string) *peer {
	var seen *client.TLSHandshake
	once := &client.Client{
		Route: route, Header: opener.Header, Auth: opener.Auth, UserAgent: opener.UserAgent, Network: opener.Network,
		ConnectTimeout: opener.ConnectTimeout, Timeout: opener.Timeout, Negotiate: opener.Negotiate, Resolver: opener.Resolver,
		TLS: &tunnel.TLSOptions{ServerName: name, Roots: opener.TLS.Roots, Insecure: true, Protocols: opener.TLS.Protocols},
		Trace: &client.Trace{Secured: func(h *client.TLSHandshake) {
			if h.Inside() {
				seen = h
			}
		}},
	}
	conn, err := once.Open(ctx, target)
	if err == nil {
		conn.Close()
	}
	once.CloseIdleConnections()
	if seen == nil || len(seen.State.PeerCertificates) == 0 {
		return &peer{name: name, failure: c.explain(err)}
	}
	return c.peerOf(seen, opener.TLS)
}

// explain says why a handshake failed; "" if it did not.
func (c *Check) explain(err error) string {
	switch {
	case err == nil:
		return ""
	case c.Explain != nil:
		return c.Explain(err)
	}
	return err.Error()
}

// peerOf describes the other end of a handshake in which a certificate came.
func (c *Check) peerOf(h *client.TLSHandshake, options *tunnel.TLSOptions) *peer {
	p := &peer{
		name: h.ServerName, chain: h.State.PeerCertificates, alpn: h.State.NegotiatedProtocol, version: h.State.Version,
		nameError: h.NameError, trusted: h.TrustError == nil && h.NameError == nil,
	}
	p.expired, p.publicError = client.VerifyChainAnyDate(p.chain, c.publicRoots(), h.Started)
	if options.Roots != nil {
		_, untrusted := client.VerifyChainAnyDate(p.chain, options.Roots, h.Started)
		p.byNamedRoot = untrusted == nil
	}
	return p
}

func (c *Check) publicRoots() *x509.CertPool {
	if c.Public != nil {
		return c.Public
	}
	return publicRoots()
}
