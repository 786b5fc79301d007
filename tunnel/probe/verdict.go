package probe

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/explain"
	"culvert/tunnel/internal/page"
	"culvert/tunnel/internal/wire"
)

// VerdictKind is the class of a verdict. The words never change.
type VerdictKind string

// The verdicts.
const (
	VerdictOpen              VerdictKind = "open"
	VerdictBroken            VerdictKind = "broken" // the tunnel was open, then broke
	VerdictDenied            VerdictKind = "denied"
	VerdictCredentials       VerdictKind = "credentials"
	VerdictTargetUnreachable VerdictKind = "target-unreachable"
	VerdictNotAProxy         VerdictKind = "not-a-proxy"
	VerdictProxyUnreachable  VerdictKind = "proxy-unreachable"
	VerdictOwnLimit          VerdictKind = "own-limit" // on descriptors, of this machine
	VerdictSilent            VerdictKind = "silent"
	VerdictHungUp            VerdictKind = "hung-up" // the proxy closed the connection without an answer
	VerdictWrongPort         VerdictKind = "wrong-port"
	VerdictMalformed         VerdictKind = "malformed"
	VerdictCaptivePortal     VerdictKind = "captive-portal"
	VerdictRejected          VerdictKind = "rejected"    // the proxy refused for another reason
	VerdictTLS               VerdictKind = "tls"         // the handshake failed, with the proxy or with the target inside the tunnel
	VerdictIntercepted       VerdictKind = "intercepted" // an interceptor speaks TLS in the target's place
)

// Verdict is the conclusion of a Report.
type Verdict struct {
	Kind     VerdictKind  `json:"kind"`
	Words    string       `json:"words"` // the kind and its cause, on one line
	Hint     string       `json:"hint,omitempty"`
	Sentence string       `json:"sentence,omitempty"` // the failure in the words of culvert dial
	Phase    tunnel.Phase `json:"phase,omitempty"`    // where it failed
	Error    string       `json:"error,omitempty"`    // RFC 9209 token
	ExitCode int          `json:"exit_code"`
}

const (
	hintWebServer = "a web server listens there, not a proxy: check the proxy's host and port"
	hintMalformed = "it is not a proxy, or a broken one: its bytes stand above"
	hintReset     = "the target, or a firewall before it, cut the connection: try another target"

	hintWantsTLS  = "that port wants TLS: use https:// if it is a proxy's"
	hintTruncated = "whoever ended the tunnel did not say goodbye in TLS: what came may not be all"
)

// verdict draws the conclusion from all that was seen.
func (s *session) verdict() Verdict {
	v := s.openVerdict()
	if s.err != nil {
		v = s.failureVerdict()
		sentence, hint := explain.Error(s.err)
		v.Sentence, v.Phase, v.Error, v.ExitCode = s.mask.Text(sentence), s.err.Phase, s.err.Type.String(), s.err.ExitCode()
		if v.Hint == "" {
			v.Hint = hint
		}
	}
	s.addInterception(&v)
	v.Words, v.Hint = s.mask.Text(v.Words), s.mask.Text(v.Hint)
	return v
}

// openVerdict is the verdict on a 2xx.
func (s *session) openVerdict() Verdict {
	instead := s.page()
	switch {
	case s.tunnel == nil:
		return Verdict{}
	case instead != "":
		if v, ok := s.pageVerdict(); ok {
			return v
		}
		return Verdict{Kind: VerdictNotAProxy, ExitCode: tunnel.ExitNotAProxy, Hint: hintWebServer,
			Words: "not a proxy (2xx, but " + instead + " instead of a tunnel)"}
	case s.tunnel.end == endReset:
		e := &tunnel.Error{Phase: tunnel.PhaseRelay, Type: tunnel.ErrorConnectionTerminated, Err: s.tunnel.err}
		return Verdict{Kind: VerdictBroken, ExitCode: e.ExitCode(), Phase: e.Phase, Error: e.Type.String(), Hint: hintReset,
			Words: "broken (the tunnel was opened, then reset)"}
	case s.tunnel.end == endTruncated:
		e := &tunnel.Error{Phase: tunnel.PhaseRelay, Type: tunnel.ErrorConnectionTerminated, Err: s.tunnel.err}
		return Verdict{Kind: VerdictBroken, ExitCode: e.ExitCode(), Phase: e.Phase, Error: e.Type.String(), Hint: hintTruncated,
			Words: "broken (the tunnel was opened, then ended without TLS's close_notify)"}
	case s.tunnel.end == endClosed && len(s.tunnel.data) == 0:
		return Verdict{Kind: VerdictOpen, Words: "open (and closed by the other side without a byte)"}
	}
	return Verdict{Kind: VerdictOpen, Words: "open"}
}

// failureVerdict is the verdict if there is no tunnel.
func (s *session) failureVerdict() Verdict {
	switch e := s.err; {
	case e.Phase == tunnel.PhaseReply && e.Status != 0:
		return s.replyVerdict()
	case e.Phase == tunnel.PhaseReply && e.Reported:
		return s.socksVerdict()
	case e.Phase == tunnel.PhaseResolve && e.Hop == "": // of the name that a socks5 hop is asked for
		return s.unreachableVerdict(string(e.Phase) + ": " + e.Cause())
	case e.Phase == tunnel.PhaseReply || e.Phase == tunnel.PhaseRequest:
		return s.noReplyVerdict()
	case e.Phase == tunnel.PhaseTLS:
		return tlsVerdict(e)
	}
	e := s.err
	cause := e.Cause()
	ownLimit, descriptors, ok := explain.OwnLimit(e)
	switch {
	case ok:
		return Verdict{Kind: VerdictOwnLimit, Words: ownLimit + ": " + explain.Cause(e), Hint: descriptors + ", or probe with a smaller --parallel"}
	case e.Detail == "" && e.Err != nil && e.Type == tunnel.ErrorDestinationUnavailable:
		cause = wire.Escape([]byte(e.Err.Error()), maxTextShown) // the type's own words are about targets
	}
	return newVerdict(VerdictProxyUnreachable, "proxy unreachable", string(e.Phase)+": "+cause)
}

// tlsVerdict is the verdict on a TLS handshake that failed.
func tlsVerdict(e *tunnel.Error) Verdict {
	with := "the proxy"
	if e.Hop == "" {
		with = "the target"
	}
	f, ok := errors.AsType[*client.TLSFailure](e.Err)
	switch {
	case !ok:
		return newVerdict(VerdictSilent, "silent", "connected, but no TLS with "+with+" in time")
	case f.Problem == client.TLSPlainHTTP || f.Problem == client.TLSNotTLS:
		return newVerdict(VerdictWrongPort, "wrong port", with+" speaks no TLS: "+f.Words)
	}
	return newVerdict(VerdictTLS, "no TLS with "+with, f.Words)
}

// newVerdict makes a verdict of its words, with the cause in brackets.
func newVerdict(kind VerdictKind, words, cause string) Verdict {
	return Verdict{Kind: kind, Words: words + " (" + cause + ")"}
}

// replyVerdict is the verdict on a final reply other than 2xx. The exit code of the
// error decides, since a Proxy-Status field may have set it, not the status alone.
func (s *session) replyVerdict() Verdict {
	e, answer := s.err, answerWords(s.err)
	switch e.ExitCode() {
	case tunnel.ExitCredentials:
		offers := "no scheme offered"
		if e.Login != nil && len(e.Login.Schemes) > 0 {
			offers = strings.Join(e.Login.Schemes, ", ")
		}
		if failed := explain.LoginFailure(e); failed != "" {
			offers += "; " + failed
		}
		return s.credentialsVerdict(offers)
	case tunnel.ExitRefused:
		if e.Answer != nil && e.Answer.Portal {
			return s.portalVerdict()
		}
		return newVerdict(VerdictDenied, "denied by policy", answer)
	case tunnel.ExitTarget:
		return s.unreachableVerdict(answer)
	}
	switch {
	case e.Status == http.StatusBadRequest && s.wantsTLS():
		v := newVerdict(VerdictWrongPort, "wrong port", "TLS wanted: "+answer)
		v.Hint = hintWantsTLS
		return v
	case e.Status == http.StatusNotFound, e.Status == http.StatusMethodNotAllowed, e.Status == http.StatusNotImplemented,
		e.Status == http.StatusBadRequest && !s.looksLikeProxy():
		return newVerdict(VerdictNotAProxy, "not a proxy", answer)
	}
	return newVerdict(VerdictRejected, "request rejected", answer)
}

// credentialsVerdict is the verdict if a login is required or failed. On a route of
// several proxies it names the one.
func (s *session) credentialsVerdict(cause string) Verdict {
	words := "credentials wanted"
	if s.err.Login != nil && s.err.Login.Sent {
		words = "credentials refused"
	}
	if len(s.route.Hops) > 1 {
		words += " by " + s.shown(s.err.Hop)
	}
	return newVerdict(VerdictCredentials, words, cause)
}

// unreachableVerdict is the verdict if a proxy could not reach what it was asked
// for: the target or the next proxy.
func (s *session) unreachableVerdict(cause string) Verdict {
	if s.err.Target != s.target {
		return newVerdict(VerdictTargetUnreachable, "next proxy unreachable", s.err.Target.String()+": "+cause)
	}
	return newVerdict(VerdictTargetUnreachable, "target unreachable", cause)
}

// socksVerdict is the verdict on a refusal in SOCKS, which has no status.
func (s *session) socksVerdict() Verdict {
	e, cause := s.err, s.err.Cause()
	switch e.ExitCode() {
	case tunnel.ExitCredentials:
		return s.credentialsVerdict(cause)
	case tunnel.ExitRefused:
		return newVerdict(VerdictDenied, "denied by policy", cause)
	case tunnel.ExitTarget:
		return s.unreachableVerdict(cause)
	}
	return newVerdict(VerdictRejected, "request rejected", cause)
}

// answerWords returns the proxy's status line and its own words, for the brackets
// of a verdict.
func answerWords(e *tunnel.Error) string {
	status, words := explain.Answer(e)
	if words == "" {
		return status
	}
	return status + ": " + words
}

// lastReply returns the exchange with the last reply; nil = no complete reply came.
func (s *session) lastReply() *client.Exchange {
	if len(s.exchanges) == 0 || s.exchanges[len(s.exchanges)-1].Head() == nil {
		return nil
	}
	return s.exchanges[len(s.exchanges)-1].Exchange
}

func (s *session) portalVerdict() Verdict {
	cause := answerWords(s.err)
	if x := s.lastReply(); x != nil && x.Head().Has("Location") {
		cause = fmt.Sprintf("%d to %s", x.Head().Code, wire.Escape([]byte(x.Head().Get("Location")), 120))
	}
	v := newVerdict(VerdictCaptivePortal, "captive portal?", cause)
	v.Hint = explain.PortalHint
	return v
}

// looksLikeProxy reports whether the reply has a field that only proxies send.
func (s *session) looksLikeProxy() bool {
	x := s.lastReply()
	for _, name := range []string{"Via", "Proxy-Status", "Proxy-Agent", "Proxy-Connection", "X-Squid-Error"} {
		if x != nil && x.Head().Has(name) {
			return true
		}
	}
	return false
}

// tlsComplaints lists what nginx, Apache, Go and culvert serve tell a client that
// speaks plain HTTP to a TLS port, in lower case.
var tlsComplaints = [...]string{"plain http request was sent to https port", "speaking plain http to an ssl-enabled", "http request to an https server", "plain http came to a port that speaks tls"}

func (s *session) wantsTLS() bool {
	if x := s.lastReply(); x != nil {
		body := strings.ToLower(string(x.Body))
		for _, complaint := range tlsComplaints {
			if strings.Contains(body, complaint) {
				return true
			}
		}
	}
	return false
}

// noReplyVerdict is the verdict if no reply came, or none that could be read.
func (s *session) noReplyVerdict() Verdict {
	e := s.err
	var answer tunnel.AnswerTrouble
	if e.Answer != nil {
		answer = *e.Answer
	}
	switch {
	case answer.WrongProtocol:
		return foreignVerdict(e.Scheme, answer.Start)
	case len(answer.Start) == 0:
		switch e.Type {
		case tunnel.ErrorConnectionReadTimeout:
			return newVerdict(VerdictSilent, "silent", "connected, but no answer in time")
		case tunnel.ErrorConnectionTerminated:
			if broken := client.HTTP2Failure(e.Err); broken != "" {
				return newVerdict(VerdictHungUp, "hung up", broken)
			}
			if s.tlsTry != nil && s.tlsTry.Speaks {
				v := newVerdict(VerdictWrongPort, "wrong port", "it speaks TLS")
				v.Hint = hintWantsTLS
				return v
			}
			return newVerdict(VerdictHungUp, "hung up", "the connection was closed without an answer")
		}
	}
	cause := e.Cause()
	switch e.Type {
	case tunnel.ErrorConnectionReadTimeout:
		cause = "the answer's head did not end in time"
	case tunnel.ErrorResponseHeadSize:
		cause = "the answer's head is larger than 64 KiB"
	}
	v := newVerdict(VerdictMalformed, "malformed", cause)
	v.Hint = hintMalformed
	return v
}

// foreignVerdict is the verdict on an answer in another protocol. TLS is told from
// the others, because another port or scheme would have been right.
func foreignVerdict(scheme string, raw []byte) Verdict {
	if startsTLS(raw) {
		return newVerdict(VerdictWrongPort, "wrong port", "TLS spoken there")
	}
	what := "not a proxy"
	if (tunnel.Hop{Scheme: scheme}).IsSOCKS() {
		what = "not a SOCKS proxy"
	}
	return newVerdict(VerdictNotAProxy, what, `it answered "`+wire.Escape(raw, 60)+`"`)
}

// pageVerdict is the verdict on a 2xx followed by the block page of a filter, or by
// a login page; ok is false for any other page.
func (s *session) pageVerdict() (v Verdict, ok bool) {
	content, cause := page.Content(s.tunnel.data), " page instead of a tunnel"
	if title := content.Title(); title != "" {
		cause += ": " + wire.Escape([]byte(title), 80)
	}
	switch {
	case content.IsBlockPage():
		v = newVerdict(VerdictDenied, "denied by policy", "2xx, but a block"+cause)
		v.Hint = explain.AllowHint(s.target, false)
	case content.IsLoginPage():
		v = newVerdict(VerdictCaptivePortal, "captive portal?", "2xx, but a login"+cause)
		v.Hint = explain.PortalHint + "; or it is a web server's own: check the proxy's host and port"
	default:
		return v, false
	}
	v.ExitCode = tunnel.ExitRefused
	return v, true
}
