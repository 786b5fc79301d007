package probe

import (
	"bytes"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/dialer"
	"culvert/tunnel/explain"
	"culvert/tunnel/interception"
	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/page"
	"culvert/tunnel/internal/wire"
)

// identityFields lists the fields in which proxies identify themselves.
var identityFields = [...]string{"Server", "Via", "Proxy-Agent", "X-Squid-Error", "X-Cache", "X-Cache-Lookup", "X-Proxy-Error", "Proxy-Status"}

// session is everything that was seen, from which a Report is assembled. It does
// not change any more.
type session struct {
	*recording
	prober       *Prober
	route        tunnel.Route
	target       tunnel.Authority
	err          *tunnel.Error        // why there is no tunnel; nil = there is one
	tunnel       *openTunnel          // nil if there is no tunnel
	interception *interception.Result // nil if there was no such check, or no certificate came
	tlsTry       *TLSTry              // nil if none was made
	mask         *client.Masker
}

func (s *session) report() *Report {
	r := &Report{
		Schema: Schema, Started: s.started.UTC(), Target: s.target,
		Plan:     Plan{Hops: s.hops(), Why: s.prober.Why},
		Attempts: []Attempt{}, Exchanges: []Exchange{},
		Tunnel: s.tunnelReport(), Interception: s.interception, TLSTry: s.tlsTry,
		Timeline: s.timeline(), Findings: s.findings(), Verdict: s.verdict(),
	}
	if s.lookup != nil {
		l := s.lookupReport(*s.lookup)
		r.Lookup = &l
	}
	for _, a := range s.attempts {
		r.Attempts = append(r.Attempts, s.attemptReport(a))
	}
	for _, l := range s.furtherLookups {
		r.FurtherLookups = append(r.FurtherLookups, s.lookupReport(l.lookup))
	}
	r.SOCKS = s.socksReports()
	for _, h := range s.tls {
		r.TLS = append(r.TLS, s.tlsReport(h))
	}
	r.Frames = s.frameReports()
	r.taps, r.secretSentBack = s.maskedTaps()
	for i, x := range s.exchanges {
		out := s.exchangeReport(x.Exchange)
		out.Connection = x.conn
		out.Left = x.leftAs(i+1 < len(s.exchanges) && s.exchanges[i+1].conn == x.conn)
		out.Segments = s.segmentReports(x.reads)
		r.Exchanges = append(r.Exchanges, out)
	}
	return r
}

// hops returns the URLs of the route.
func (s *session) hops() (urls []string) {
	for _, hop := range s.route.Hops {
		urls = append(urls, s.shown(hop.String()))
	}
	return urls
}

// abandonedRoute reports a route that led to no tunnel.
func (s *session) abandonedRoute() AbandonedRoute {
	sentence, _ := explain.Error(s.err) // escaped already
	return AbandonedRoute{Hops: s.hops(), Why: s.mask.Text(sentence), Took: micros(time.Since(s.started))}
}

// maxTextShown bounds one piece of text from a proxy, in bytes of ASCII.
const maxTextShown = 200

// shown makes text from the network fit to be shown.
func (s *session) shown(text string) string {
	return s.mask.Text(wire.Escape([]byte(text), maxTextShown))
}

func (s *session) shownError(err error) string {
	if err == nil {
		return ""
	}
	return s.shown(err.Error())
}

// at converts a time to its distance from the start.
func (s *session) at(t time.Time) Micros { return micros(t.Sub(s.started)) }

func (s *session) lookupReport(l lookup) Lookup {
	out := Lookup{Host: l.host, Addresses: []string{}}
	for _, a := range l.addrs {
		out.Addresses = append(out.Addresses, a.Unmap().String())
	}
	if l.err != nil {
		e := dialer.ResolveError(l.err, s.target)
		out.Error = s.shown(e.Cause())
	}
	return out
}

func (s *session) attemptReport(a connectAttempt) Attempt {
	out := Attempt{Address: s.shown(a.addr), At: s.at(a.started)}
	if a.ended.IsZero() {
		out.Error = "given up: another address was faster"
		return out
	}
	out.Duration = micros(a.ended.Sub(a.started))
	if out.Connected = a.err == nil; !out.Connected {
		out.Error = s.shownError(neterr.Plain(a.err))
	}
	return out
}

func (s *session) exchangeReport(x *client.Exchange) Exchange {
	out := Exchange{
		Hop: s.shown(x.Hop.Name()), AskedFor: x.Next,
		Request: s.mask.Sent(x.Request), Reply: s.mask.Received(x.Reply),
		Content: s.mask.Received(x.Body), ContentError: s.shownError(neterr.Plain(x.ContentError())),
		Glued: x.Glued,
	}
	if x.Err != nil {
		sentence, _ := explain.Error(x.Err) // escaped already
		out.Error = s.mask.Text(sentence)
	}
	for _, head := range x.Interim {
		out.Interim = append(out.Interim, s.mask.Received(head))
	}
	if x.Watched {
		out.AfterRefusal = "closed"
		if x.KeptOpen {
			out.AfterRefusal = "kept open"
		}
	}
	reply := x.Head()
	if reply == nil {
		return out
	}
	out.Status, out.Reason = reply.Code, s.shown(reply.Reason)
	if len(x.Body) > 0 {
		out.ContentCoding = s.shown(reply.Get("Content-Encoding"))
	}
	content, _ := x.Page()
	out.Product, out.ProductSign = page.Product(reply, content)
	out.Schemes = x.Schemes()
	for _, name := range identityFields {
		for _, value := range reply.Values(name) {
			out.Identity = append(out.Identity, IdentityField{name, s.shown(value)})
		}
	}
	for _, p := range tunnel.ParseProxyStatus(reply.Values("Proxy-Status")) {
		out.ProxyStatus = append(out.ProxyStatus, tunnel.ProxyStatus{
			Name: s.shown(p.Name), Error: s.shown(p.Error), Details: s.shown(p.Details),
			RCode: s.shown(p.RCode), NextHop: s.shown(p.NextHop),
		})
	}
	return out
}

func (s *session) frameReports() []Frame {
	var out []Frame
	for _, f := range s.frames {
		out = append(out, Frame{Hop: s.shown(f.Hop.Name()), Sent: f.Sent, At: s.at(f.At), Frame: s.mask.Text(f.Words)}) // escaped already
	}
	return out
}

func (s *session) tunnelReport() *Tunnel {
	if s.tunnel == nil {
		return nil
	}
	data := s.mask.Received(s.tunnel.data)
	n := &Tunnel{
		Sent: s.mask.Sent(s.tunnel.sent), Data: data, Glued: len(data) - commonEnd(data, s.mask.Received(s.tunnel.data[s.tunnel.glued:])),
		Wait: micros(s.tunnel.wait), End: string(s.tunnel.end), Page: s.page(),
	}
	switch reads := s.tunnel.reads; {
	case len(reads) == 0:
	case !bytes.Equal(data, s.tunnel.data): // as in segmentReports
		n.Segments = []Segment{{s.at(reads[0].at), data[n.Glued:]}}
	default:
		n.Segments = s.segmentReports(reads)
	}
	return n
}

// commonEnd counts the bytes that a and b both end with. Applied to the tunnel's
// data with the glued bytes and without them, it gives the number of bytes behind
// the glued ones, even if masking across the boundary has changed it.
func commonEnd(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	return n
}

// page describes the page that came instead of a tunnel; "" = there is none.
func (s *session) page() string {
	if s.tunnel == nil || len(s.exchanges) == 0 || s.targetTLS() != nil {
		return "" // a peer that speaks TLS sent no page
	}
	return s.tunnel.page(s.exchanges[len(s.exchanges)-1].Head())
}

// segmentReports masks credentials. If there are any, only one segment is left,
// since they may lie across the boundaries.
func (s *session) segmentReports(reads []segment) (out []Segment) {
	var all []byte
	for _, r := range reads {
		all = append(all, r.bytes...)
	}
	if shown := s.mask.Received(all); len(reads) > 0 && !bytes.Equal(shown, all) {
		return []Segment{{s.at(reads[0].at), shown}}
	}
	for _, r := range reads {
		out = append(out, Segment{s.at(r.at), r.bytes})
	}
	return out
}

// targetTLS returns the handshake with the target, if it succeeded.
func (s *session) targetTLS() *client.TLSHandshake {
	if n := len(s.tls); n > 0 && s.tls[n-1].Inside() && s.tls[n-1].Err == nil {
		return s.tls[n-1].TLSHandshake
	}
	return nil
}
