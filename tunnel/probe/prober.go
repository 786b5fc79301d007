package probe

import (
	"context"
	"fmt"
	"slices"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/explain"
	"culvert/tunnel/interception"
)

// DefaultWait is how long a Prober reads from an open tunnel, and how long a proxy
// may take to close after a refusal.
const DefaultWait = 500 * time.Millisecond

// A Prober opens one tunnel, records every byte and the time of every step, and
// checks what it recorded. A proxy that closes the connection without an answer to
// plain HTTP is tried with TLS as well.
//
// A Prober may be used by several goroutines at once, and must not be changed
// meanwhile.
type Prober struct {
	// Client opens the tunnel. The Prober uses a copy with a Watch of its own, and
	// calls the Client's Trace, if any, as well. Required.
	Client *client.Client

	// Why says in a clause where the route comes from, as
	// tunnel.RouteFromEnvironment does. It only appears in the Report.
	Why string

	// Wait is how long to read from the open tunnel, and how long a proxy may take
	// to close after a refusal; 0 = DefaultWait, negative = not at all.
	Wait time.Duration

	// Send is sent through the open tunnel before reading, unless Wait is negative;
	// nil = nothing is sent.
	Send []byte

	// Interception finds out, by further tunnels and connections, whether an
	// interceptor speaks TLS in the target's place; nil = no such check. It needs a
	// Client with TLS.
	Interception *interception.Check

	// ShowSecrets leaves credentials in the Report; otherwise they are masked.
	ShowSecrets bool

	noFurtherConnections bool          // none to examine a failure
	tlsTryTimeout        time.Duration // 0 = defaultTLSTryTimeout
}

// Probe opens a tunnel to the target, reads from it, closes it, and reports. It
// takes no longer than the Client's Timeout, Wait, the Patience of Interception,
// about a second for a refusal's content, and two for a TLSTry together.
//
// What a proxy does wrong is in the Report, never in the error. The error is
// client.ErrNoProxy, a *tunnel.Error for a request that cannot be sent, or ctx's
// own if ctx was cancelled.
//
// Of the alternative routes in Client.Or, Probe tries those whose last proxy is
// asked by CONNECT. The Report is about the last route tried; its Plan says why the
// earlier ones were abandoned.
func (p *Prober) Probe(ctx context.Context, target tunnel.Authority) (*Report, error) {
	if p.Client == nil || p.Client.Route.Direct() {
		return nil, client.ErrNoProxy
	}
	opener := p.Client.Unshared() // so that all frames are seen
	opener.Or = slices.DeleteFunc(slices.Clone(opener.Or), func(r tunnel.Route) bool { return !connects(r) })
	defer opener.CloseIdleConnections()
	var abandoned []AbandonedRoute
	for i := 0; ; i++ {
		s := p.probeRoute(ctx, opener.Along(i), target)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case s.err != nil && s.err.Phase == tunnel.PhaseRequest && s.err.Type == tunnel.ErrorRequest:
			return nil, s.err
		case s.err == nil || !s.err.OtherRouteMayWork() || i == len(opener.Or):
			r := s.report()
			r.Plan.Abandoned = abandoned
			return r, nil
		}
		if t := p.Client.Trace; t != nil && t.Abandoned != nil {
			t.Abandoned(s.route, s.err, opener.Or[i])
		}
		abandoned = append(abandoned, s.abandonedRoute())
	}
}

// connects reports whether the route's last proxy is asked by CONNECT.
func connects(r tunnel.Route) bool {
	return !r.Direct() && !r.Hops[len(r.Hops)-1].IsSOCKS()
}

// waiting tells the Client's Trace what Probe waits for next.
func (p *Prober) waiting(format string, args ...any) {
	if t := p.Client.Trace; t != nil && t.Waiting != nil {
		t.Waiting(fmt.Sprintf(format, args...))
	}
}

// wait returns Wait or its default; 0 = not at all.
func (p *Prober) wait() time.Duration {
	if p.Wait == 0 {
		return DefaultWait
	}
	return max(0, p.Wait)
}

// probeRoute probes the one route of opener, which belongs to the Prober.
func (p *Prober) probeRoute(ctx context.Context, opener *client.Client, target tunnel.Authority) *session {
	wait := p.wait()
	rec := &recording{started: time.Now()}
	opener.Watch = &client.Watch{Read: rec.read, RefusalWait: wait}
	if len(opener.Route.Hops) == 1 { // of several, one hop's frames would hold another hop's
		opener.Watch.Tap = rec.tap
	}
	opener.Trace = client.Traces(rec.trace(), p.Client.Trace)
	s := &session{recording: rec, prober: p, route: opener.Route, target: target, mask: opener.Masker(p.ShowSecrets)}
	conn, err := opener.Open(ctx, target)
	if err == nil {
		if wait > 0 {
			p.waiting("what comes out of the tunnel to %s", target)
		}
		s.tunnel = readTunnel(ctx, conn, p.Send, wait)
		rec.closeTaps()
		conn.Close()
	} else {
		s.err = tunnel.AsError(err, tunnel.PhaseConnect)
	}
	rec.finish()
	if s.err != nil {
		s.tlsTry = p.tryTLS(ctx, opener, s.err, rec)
		if s.tlsTry != nil && !s.tlsTry.Speaks {
			if s.err.Answer == nil {
				s.err.Answer = new(tunnel.AnswerTrouble)
			}
			s.err.Answer.TriedTLS = true
		}
	}
	if p.Interception != nil && opener.TLS != nil {
		p.waiting("other handshakes, to see who speaks TLS")
		s.interception = p.checkInterception(ctx, opener, target, s)
	}
	return s
}

// checkInterception runs the Interception check. Credentials in its result are
// masked.
func (p *Prober) checkInterception(ctx context.Context, opener *client.Client, target tunnel.Authority, s *session) *interception.Result {
	check := *p.Interception
	if check.Explain == nil {
		check.Explain = func(err error) string {
			sentence, _ := explain.Error(err)
			return sentence
		}
	}
	h := s.targetHandshake()
	if h == nil {
		return nil
	}
	out := check.Run(ctx, opener, target, h, s.times(h, len(opener.Route.Hops)))
	if out == nil {
		return nil
	}
	out.By, out.Hint = s.mask.Text(out.By), s.mask.Text(out.Hint)
	for i := range out.Evidence {
		out.Evidence[i].Text = s.mask.Text(out.Evidence[i].Text)
	}
	return out
}
