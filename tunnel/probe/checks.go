package probe

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/wire"
)

// check is one row of the table of checks: what it demands, by which rule, and how
// it is done.
type check struct {
	id, title, rfc string
	level          Level
	run            func(*subject) outcome
}

// subject is what a check examines: one hop's exchange.
type subject struct {
	*client.Exchange
	reply  *wire.Reply // the head of the reply; nil if it is incomplete
	last   bool        // the hop was asked for the target itself
	tunnel *openTunnel // the tunnel, if this hop is the last one and opened it

	frames []client.Frame // over HTTP/2
}

// outcome is a check's grade, and the evidence for it.
type outcome struct {
	grade    Grade
	evidence string
}

// checks lists the checks of an exchange over HTTP/1, in the order of the report.
var checks = [...]check{
	{"http-reply", "the answer is a whole HTTP/1 reply head", "RFC 9112, section 2.1", LevelMust, checkHead},
	{"page", "a 2xx is followed by a tunnel, not by a page", "RFC 9110, section 9.3.6", LevelMust, onOpen(checkPage)},
	{"2xx-content-length", "a 2xx has no Content-Length", "RFC 9110, section 9.3.6", LevelMust, onOpen(absent("Content-Length", Fail))},
	{"2xx-transfer-encoding", "a 2xx has no Transfer-Encoding", "RFC 9110, section 9.3.6", LevelMust, onOpen(absent("Transfer-Encoding", Fail))},
	{"2xx-connection-close", "a 2xx does not announce the connection's end", "RFC 9112, section 9.6", LevelPolicy, onOpen(checkClose)},
	{"glued-bytes", "bytes behind a 2xx reach the client", "RFC 9110, section 9.3.6", LevelPolicy, onOpen(checkGlued)},
	{"bare-lf", "lines end in CR LF", "RFC 9112, section 2.2", LevelMust, onHead(flawless(wire.BareLF))},
	{"bare-cr", "no CR stands without its LF", "RFC 9112, section 2.2", LevelMust, onHead(flawless(wire.BareCR))},
	{"obs-fold", "field lines are not folded", "RFC 9112, section 5.2", LevelMust, onHead(flawless(wire.ObsFold))},
	{"space-before-colon", "no space stands before a field's colon", "RFC 9112, section 5.1", LevelMust, onHead(flawless(wire.SpaceBeforeColon))},
	{"field-syntax", "field lines are name, colon and value", "RFC 9112, section 5", LevelMust, onHead(flawless(wire.NoColon, wire.EmptyName, wire.BadName))},
	{"control-char", "no control character is in the head", "RFC 9110, section 5.5", LevelMust, onHead(flawless(wire.ControlChar))},
	{"status-line", "single spaces stand in the status line", "RFC 9112, section 4", LevelMust, onHead(flawless(wire.ExtraSpace))},
	{"reason-phrase", "the status line has a space behind its code", "RFC 9112, section 4", LevelMust, onHead(flawless(wire.NoReason))},
	{"http-version", "the version is HTTP/1.1", "RFC 9110, section 6.2", LevelShould, onHead(checkVersion)},
	{"interim-replies", "no more than a few 1xx replies come first", "RFC 9110, section 15.2", LevelPolicy, checkInterim},
	{"407-proxy-authenticate", "a 407 has a challenge in Proxy-Authenticate", "RFC 9110, section 15.5.8", LevelMust, onRefusal(checkChallenge)},
	{"401-for-407", "credentials for the proxy are asked for by 407", "RFC 9110, section 15.5.8", LevelShould, onRefusal(check401)},
	{"redirect", "a refusal is no redirect", "RFC 9110, section 15.4", LevelPolicy, onRefusal(checkRedirect)},
	{"refusal-framing", "a refusal's content is framed, and whole", "RFC 9112, section 6.3", LevelMust, onRefusal(checkFraming)},
	{"closed-after-refusal", "the connection is closed after a refusal", "RFC 9931, section 8", LevelMust, onRefusal(checkClosed)},
	{"proxy-status", "a refusal tells its cause in Proxy-Status", "RFC 9209, section 2", LevelPolicy, onRefusal(checkCause)},
	{"proxy-status-syntax", "Proxy-Status is a list of structured fields", "RFC 9209, section 2", LevelMust, onHead(checkProxyStatusSyntax)},
}

// findings runs the checks over every handshake and every exchange.
func (s *session) findings() []Finding {
	all := s.tlsFindings()
	for i, x := range s.exchanges {
		sub := &subject{Exchange: x.Exchange, reply: x.Head(), last: i+1 == len(s.exchanges) && x.Next == s.target}
		if sub.last {
			sub.tunnel = s.tunnel
		}
		sub.frames = s.framesOf(x.Hop)
		for _, c := range checksOf(x.Exchange) {
			o := c.run(sub)
			all = append(all, Finding{
				ID: c.id, Title: c.title, RFC: c.rfc, Level: c.level, Exchange: i, Hop: s.shown(x.Hop.Name()),
				Grade: o.grade, Evidence: s.mask.Text(o.evidence),
			})
		}
	}
	return all
}

// onHead skips a check that needs a complete reply head where there is none.
func onHead(run func(*subject) outcome) func(*subject) outcome {
	return func(s *subject) outcome {
		if s.reply == nil {
			return outcome{Skip, "there is no whole reply head"}
		}
		return run(s)
	}
}

// onOpen skips a check of a 2xx for any other reply.
func onOpen(run func(*subject) outcome) func(*subject) outcome {
	return onHead(func(s *subject) outcome {
		if s.reply.Code/100 != 2 {
			return outcome{Skip, "the reply is no 2xx"}
		}
		return run(s)
	})
}

// onRefusal skips a check of a refusal for a 2xx.
func onRefusal(run func(*subject) outcome) func(*subject) outcome {
	return onHead(func(s *subject) outcome {
		if s.reply.Code/100 == 2 {
			return outcome{Skip, "the reply is no refusal"}
		}
		return run(s)
	})
}

// absent returns a check that gives grade if the reply has the named field.
func absent(name string, grade Grade) func(*subject) outcome {
	return func(s *subject) outcome {
		if !s.reply.Has(name) {
			return outcome{grade: Pass}
		}
		return outcome{grade, s.fieldEvidence(name)}
	}
}

// flawless returns a check that fails if the head has one of the flaws.
func flawless(kinds ...wire.FlawKind) func(*subject) outcome {
	return func(s *subject) outcome {
		for _, kind := range kinds {
			if flaw, ok := s.reply.Flaw(kind); ok {
				return outcome{Fail, s.lineEvidence(flaw.Offset)}
			}
		}
		return outcome{grade: Pass}
	}
}

// fieldEvidence quotes the first field of that name.
func (s *subject) fieldEvidence(name string) string {
	return `"` + name + ": " + wire.Escape([]byte(s.reply.Get(name)), 80) + `"`
}

// lineEvidence quotes the line around an offset in the reply's head.
func (s *subject) lineEvidence(offset int) string {
	raw := s.reply.Raw
	start := bytes.LastIndexByte(raw[:offset], '\n') + 1
	line := raw[start:]
	if end := bytes.IndexByte(raw[offset:], '\n'); end >= 0 {
		line = raw[start : offset+end+1]
	}
	return fmt.Sprintf(`at byte %d: "%s"`, offset, wire.Escape(line, 80))
}

func checkHead(s *subject) outcome {
	switch {
	case s.reply != nil:
		return outcome{grade: Pass}
	case s.HeadError() == nil:
		return outcome{Skip, "no answer came"}
	}
	return outcome{Fail, fmt.Sprintf(`%s: "%s"`, s.HeadError().Detail, wire.Escape(s.HeadError().Raw, 80))}
}

func checkPage(s *subject) outcome {
	switch {
	case !s.last:
		return outcome{Skip, "the next proxy's answer was read from the tunnel"}
	case s.tunnel == nil:
		return outcome{Skip, "the tunnel was not listened to"}
	}
	if what := s.tunnel.page(s.reply); what != "" {
		return outcome{Fail, fmt.Sprintf(`%s: "%s"`, what, wire.Escape(s.tunnel.data, 60))}
	}
	if s.tunnel.wait == 0 && len(s.tunnel.data) == 0 {
		return outcome{Skip, "the tunnel was not listened to"}
	}
	return outcome{grade: Pass}
}

// checkClose warns of the "close" option in a 2xx. It speaks of the HTTP connection
// after this reply, but behind a 2xx to CONNECT there is no HTTP any more; some
// clients hang up.
func checkClose(s *subject) outcome {
	if !wire.HasToken(s.reply.Values("Connection"), "close") {
		return outcome{grade: Pass}
	}
	return outcome{Warn, s.fieldEvidence("Connection")}
}

// checkGlued always passes: such bytes are legal, but worth reporting, since some
// clients lose them.
func checkGlued(s *subject) outcome {
	if s.Glued == 0 {
		return outcome{Pass, "none came together with the reply"}
	}
	return outcome{Pass, fmt.Sprintf("%d came together with the reply", s.Glued)}
}

func checkVersion(s *subject) outcome {
	if s.reply.Minor > 0 {
		return outcome{grade: Pass}
	}
	return outcome{Warn, `"` + wire.Escape([]byte(s.reply.Line), 80) + `"`}
}

func checkInterim(s *subject) outcome {
	switch n := len(s.Interim); {
	case n == 0 && s.reply == nil:
		return outcome{Skip, "there is no whole reply head"}
	case n == 0:
		return outcome{grade: Pass}
	case n > client.MaxInterim:
		return outcome{Fail, fmt.Sprintf("more than %d, and no final reply", client.MaxInterim)}
	default:
		return outcome{Pass, fmt.Sprintf("%d came, which is allowed", n)}
	}
}

func checkChallenge(s *subject) outcome {
	switch {
	case s.reply.Code != http.StatusProxyAuthRequired:
		return outcome{Skip, "the reply is no 407"}
	case !s.reply.Has("Proxy-Authenticate"):
		return outcome{Fail, "there is no such field"}
	case len(client.ChallengeSchemes(s.reply.Values("Proxy-Authenticate"))) == 0:
		return outcome{Fail, "no scheme in " + s.fieldEvidence("Proxy-Authenticate")}
	}
	return outcome{Pass, s.fieldEvidence("Proxy-Authenticate")}
}

// check401 warns of a 401. Only origin servers may send it, and clients that make
// the distinction do not answer it with credentials for the proxy.
func check401(s *subject) outcome {
	switch s.reply.Code {
	case http.StatusProxyAuthRequired:
		return outcome{grade: Pass}
	case http.StatusUnauthorized:
		return outcome{Warn, `"` + wire.Escape([]byte(s.reply.Line), 80) + `"`}
	}
	return outcome{Skip, "the reply asks for no credentials"}
}

func checkRedirect(s *subject) outcome {
	if s.reply.Code/100 != 3 {
		return outcome{grade: Pass}
	}
	return outcome{Warn, fmt.Sprintf("%d to %s", s.reply.Code, s.fieldEvidence("Location"))}
}

func checkFraming(s *subject) outcome {
	if _, err := s.reply.Framing(); err != nil {
		return outcome{Fail, err.Error()}
	}
	switch {
	case s.ContentError() == nil:
		return outcome{grade: Pass}
	case neterr.Timeout(s.ContentError()):
		return outcome{Skip, "the content did not end in time"}
	}
	return outcome{Fail, "the content broke off: " + wire.Escape([]byte(neterr.Plain(s.ContentError()).Error()), 80)}
}

// checkClosed only warns: RFC 9931 demands the close towards clients that may send
// payload before the reply, and a proxy may know that its clients do not.
func checkClosed(s *subject) outcome {
	switch {
	case !s.Watched && neterr.Timeout(s.ContentError()):
		return outcome{Skip, "the content did not end in time"}
	case !s.Watched:
		return outcome{Skip, "the connection was not watched to its end"}
	case s.KeptOpen:
		return outcome{Warn, "it stayed open: a client that sends early could be made to send requests"}
	}
	return outcome{grade: Pass}
}

func checkCause(s *subject) outcome {
	if p, ok := tunnel.FirstProxyStatusError(tunnel.ParseProxyStatus(s.reply.Values("Proxy-Status"))); ok {
		return outcome{Pass, "error=" + wire.Escape([]byte(p.Error), 80)}
	}
	if s.reply.Has("Proxy-Status") {
		return outcome{Warn, "no error in " + s.fieldEvidence("Proxy-Status")}
	}
	return outcome{Warn, "there is no such field: clients have to guess the cause"}
}

func checkProxyStatusSyntax(s *subject) outcome {
	values := s.reply.Values("Proxy-Status")
	if len(values) == 0 {
		return outcome{Skip, "there is no Proxy-Status"}
	}
	if err := CheckProxyStatus(values); err != nil {
		return outcome{Fail, err.Error() + ": " + s.fieldEvidence("Proxy-Status")}
	}
	return outcome{grade: Pass}
}

// shortRFC shortens a reference for a table, to "9110 9.3.6".
func shortRFC(rfc string) string {
	return strings.Replace(strings.TrimPrefix(rfc, "RFC "), ", section", "", 1)
}
