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

// DefaultWait is how long a Prober listens to an open tunnel, and how
// long a proxy may take to close after a refusal.
const DefaultWait = 500 * time.Millisecond

// Prober opens one tunnel, keeps every byte and every time of the way, and
// judges what it saw. A proxy that hung up on plain HTTP is asked for TLS too.
type Prober struct {
	// Client opens the tunnel, by a copy with a Watch of the Prober's. Its Trace, if
	// any, is called as well. Required.
	Client *client.Client

	// Why says in a clause where the route comes from, as RouteFromEnvironment
	// does; for the Report only.
	Why string

	// Wait is how long to listen to the open tunnel, and how long a proxy may
	// take to close after a refusal; 0 = DefaultWait, negative = neither.
	Wait time.Duration

	// Send is sent through the open tunnel before listening, and is not sent if
	// Wait is negative; nil = nothing is sent.
	Send []byte

	// Interception looks for somebody in the middle of the Client's TLS with the
	// target, with further tunnels and connections; nil = it is not looked for.
	Interception *interception.Check

	// ShowSecrets leaves credentials in the Report; else they are masked.
	ShowSecrets bool

	noFurtherConnections bool          // no further connection is made to find out more about a failure
	tlsTryTimeout        time.Duration // of a TLSTry; 0 = tlsTryTime
}

// Probe opens a tunnel to the target, listens, closes it, and reports. It
// takes no longer than the Client's Timeout, Wait, an interception.Check's
// Patience, about a second for a refusal's content, and two for a TLSTry. What a
// proxy does wrong is in the Report, never the error: that is ErrNoProxy, an
// *Error for a request that cannot be sent, or the context's own if it was
// cancelled.
//
// Of Client.Or those routes are taken that lead through a proxy which is asked by
// CONNECT; the Report is of the last one, and has in its Plan why not of those
// before.
func (p *Prober) Probe(ctx context.Context, target tunnel.Authority) (*Report, error) {
	if p.Client == nil || p.Client.Route.Direct() {
		return nil, client.ErrNoProxy
	}
	opener := p.Client.Clone() // which shares no connection: all frames are to be seen
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

// connects reports whether the last proxy on the way is asked by CONNECT.
func connects(r tunnel.Route) bool {
	return !r.Direct() && !r.Hops[len(r.Hops)-1].IsSOCKS()
}

// waiting tells the Trace what is waited for from now on.
func (p *Prober) waiting(format string, args ...any) {
	if t := p.Client.Trace; t != nil && t.Waiting != nil {
		t.Waiting(fmt.Sprintf(format, args...))
	}
}

// wait is Wait with its default, 0 for neither.
func (p *Prober) wait() time.Duration {
	if p.Wait == 0 {
		return DefaultWait
	}
	return max(0, p.Wait)
}

// probeRoute is Probe along the one route of opener, which is the Prober's own.
func (p *Prober) probeRoute(ctx context.Context, opener *client.Client, target tunnel.Authority) *session {
	wait := p.wait()
	rec := &recording{started: time.Now()}
	opener.Watch = &client.Watch{Read: rec.read, RefusalWait: wait}
	if len(opener.Route.Hops) == 1 { // of several, one's frames would hold another's
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

// findMiddle looks for somebody in the middle of TLS with the target. What it
// found has credentials masked.
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
