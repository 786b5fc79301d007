package tunnel

import (
	"time"

	"culvert/tunnel/internal/wire"
)

// maxShown bounds one piece of text that a proxy sent, in bytes of ASCII.
const maxShown = 200

// identityFields are those in which proxies tell what they are.
var identityFields = [...]string{"Server", "Via", "Proxy-Agent", "X-Squid-Error", "X-Cache", "X-Cache-Lookup", "X-Proxy-Error", "Proxy-Status"}

// session is everything seen, from which a Report is assembled. Nothing in it
// changes any more.
type session struct {
	*recording
	prober *Prober
	target Authority
	err    *Error             // why there is no tunnel, or nil
	heard  *heardTunnel       // nil if there is no tunnel
	facts  *interceptionFacts // nil if nobody asked, or no certificate came
	middle *Interception      // what follows from them
	mask   masker
}

func (s *session) report() *Report {
	s.middle = s.interception()
	r := &Report{
		Schema: ReportSchema, Started: s.started.UTC(), Target: s.target,
		Plan:     Plan{Why: s.prober.Why},
		Attempts: []Attempt{}, Exchanges: []ExchangeReport{},
		Lookup: s.lookupReport(), Tunnel: s.tunnelReport(), Interception: s.middle,
		Timeline: s.timeline(), Findings: s.findings(), Verdict: s.verdict(),
	}
	for _, hop := range s.prober.Client.Route.Hops {
		r.Plan.Hops = append(r.Plan.Hops, s.shown(hop.String()))
	}
	for _, a := range s.attempts {
		r.Attempts = append(r.Attempts, s.attemptReport(a))
	}
	for _, h := range s.secured {
		r.TLS = append(r.TLS, s.tlsReport(h))
	}
	r.Frames = s.framesReport()
	for i, x := range s.exchanges {
		out := s.exchangeReport(x.Exchange)
		out.Connection = x.conn
		out.Left = x.left(i+1 < len(s.exchanges) && s.exchanges[i+1].conn == x.conn)
		out.Segments = s.segmentsReport(x.reads)
		r.Exchanges = append(r.Exchanges, out)
	}
	return r
}

// shown makes text from the network fit to be shown.
func (s *session) shown(text string) string {
	return s.mask.text(wire.Escape([]byte(text), maxShown))
}

func (s *session) shownError(err error) string {
	if err == nil {
		return ""
	}
	return s.shown(err.Error())
}

// at is a moment's distance from the start.
func (s *session) at(t time.Time) Micros { return micros(t.Sub(s.started)) }

func (s *session) lookupReport() *Lookup {
	if s.lookup == nil {
		return nil
	}
	l := &Lookup{Host: s.lookup.host, Addresses: []string{}}
	for _, a := range s.lookup.addrs {
		l.Addresses = append(l.Addresses, a.Unmap().String())
	}
	if s.lookup.err != nil {
		e := resolveError(s.lookup.err, s.target)
		l.Error = s.shown(e.cause())
	}
	return l
}

func (s *session) attemptReport(a connectAttempt) Attempt {
	out := Attempt{Address: s.shown(a.addr), At: s.at(a.started)}
	if a.ended.IsZero() {
		out.Error = "given up: another address was faster"
		return out
	}
	out.Duration = micros(a.ended.Sub(a.started))
	if out.Connected = a.err == nil; !out.Connected {
		out.Error = s.shownError(plainError(a.err))
	}
	return out
}

func (s *session) exchangeReport(x *Exchange) ExchangeReport {
	out := ExchangeReport{
		Hop: s.shown(x.Hop.Name()), AskedFor: x.Next,
		Request: s.mask.sent(x.Request), Reply: s.mask.received(x.Reply),
		Content: s.mask.received(x.Body), ContentError: s.shownError(plainError(x.bodyError)),
		Glued: x.Glued,
	}
	if x.Err != nil {
		sentence, _ := Explain(x.Err) // escaped already
		out.Error = s.mask.text(sentence)
	}
	for _, head := range x.Interim {
		out.Interim = append(out.Interim, s.mask.received(head))
	}
	if x.Watched {
		out.AfterRefusal = "closed"
		if x.KeptOpen {
			out.AfterRefusal = "kept open"
		}
	}
	if x.reply == nil {
		return out
	}
	out.Status, out.Reason = x.reply.Code, s.shown(x.reply.Reason)
	out.Product, out.ProductSign = product(x.reply, x.Body)
	out.Schemes = schemesOf(challenges(x.reply))
	for _, name := range identityFields {
		for _, value := range x.reply.Values(name) {
			out.Identity = append(out.Identity, IdentityField{name, s.shown(value)})
		}
	}
	for _, p := range parseProxyStatus(x.reply.Values("Proxy-Status")) {
		out.ProxyStatus = append(out.ProxyStatus, ProxyStatus{
			Name: s.shown(p.Name), Error: s.shown(p.Error), Details: s.shown(p.Details),
			RCode: s.shown(p.RCode), NextHop: s.shown(p.NextHop),
		})
	}
	return out
}

func (s *session) tunnelReport() *TunnelReport {
	if s.heard == nil {
		return nil
	}
	return &TunnelReport{
		Sent: s.mask.sent(s.heard.sent), Data: s.mask.received(s.heard.data), Glued: s.heard.glued,
		Wait: micros(s.heard.wait), End: string(s.heard.end), Page: s.page(),
	}
}

// page is what makes the tunnel's first bytes a page, or "".
func (s *session) page() string {
	if s.heard == nil || len(s.exchanges) == 0 || s.inside() != nil {
		return "" // what speaks TLS is no page
	}
	return s.heard.page(s.exchanges[len(s.exchanges)-1].reply)
}

// timeline draws up the phases. One that was not finished lasted until the
// exchange was over.
func (s *session) timeline() []Span {
	spans := []Span{}
	add := func(phase, hop string, from, to, over time.Time) {
		if from.IsZero() {
			return
		}
		finished := !to.IsZero()
		if !finished {
			to = over
		}
		spans = append(spans, Span{phase, s.shown(hop), s.at(from), micros(to.Sub(from)), finished})
	}
	if s.lookup != nil {
		add(SpanResolve, "", s.started, s.lookup.ended, time.Time{})
		spans[0].Finished = s.lookup.err == nil
	}
	if span, ok := s.connectSpan(); ok {
		spans = append(spans, span)
	}
	secured := s.secured
	addTLS := func(before int) {
		for len(secured) > 0 && secured[0].after <= before {
			h, phase, hop := secured[0], SpanTLSProxy, secured[0].Peer()
			if h.inside() {
				phase, hop = SpanTLSInside, ""
			}
			add(phase, hop, h.Started, h.Ended, h.Ended)
			spans[len(spans)-1].Finished = h.Err == nil
			secured = secured[1:]
		}
	}
	for i, x := range s.exchanges {
		addTLS(i)
		hop := x.Hop.Name()
		add(SpanRequest, hop, x.Started, x.Sent, x.ended)
		add(SpanFirstReplyByte, hop, x.Sent, x.FirstIn, x.ended)
		add(SpanReplyComplete, hop, x.FirstIn, x.Complete, x.ended)
		if x.Err != nil && x.Watched {
			closed := x.ended
			if x.KeptOpen {
				closed = time.Time{}
			}
			add(SpanClose, hop, x.Complete, closed, x.ended)
		}
	}
	addTLS(len(s.exchanges))
	if s.heard != nil && s.heard.wait > 0 && len(s.exchanges) > 0 {
		complete := s.exchanges[len(s.exchanges)-1].Complete
		if h := s.inside(); h != nil {
			complete = h.Ended
		}
		first := s.heard.firstIn
		if s.heard.glued > 0 {
			first = complete
		}
		add(SpanFirstTunnelByte, "", complete, first, s.heard.ended)
	}
	return spans
}

// connectSpan is the attempt that counted, or all of them together.
func (s *session) connectSpan() (span Span, ok bool) {
	for _, a := range s.attempts {
		end := s.at(a.ended)
		if a.ended.IsZero() {
			continue
		}
		if a.err == nil {
			return Span{SpanConnect, "", s.at(a.started), micros(a.ended.Sub(a.started)), true}, true
		}
		if !ok {
			span, ok = Span{Phase: SpanConnect, At: s.at(a.started)}, true
		}
		span.Duration = max(span.Duration, end-span.At)
	}
	return span, ok
}
