package probe

import (
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/client"
)

// checksHTTP2 lists the checks of an exchange over HTTP/2, which has no lines, and
// shares its connection with other streams.
var checksHTTP2 = [...]check{
	{"http2-reply", "the answer is a whole reply head of HTTP/2", "RFC 9113, section 8.3.2", LevelMust, checkHead2},
	{"page", "a 2xx is followed by a tunnel, not by a page", "RFC 9110, section 9.3.6", LevelMust, onOpen(checkPage)},
	{"2xx-content-length", "a 2xx has no Content-Length", "RFC 9110, section 9.3.6", LevelMust, onOpen(absent("Content-Length", Fail))},
	{"http2-settings", "the proxy sends SETTINGS first, and acknowledges ours", "RFC 9113, section 3.4", LevelMust, checkSettings},
	{"http2-extended-connect", "extended CONNECT is announced, for WebSockets", "RFC 8441, section 3", LevelPolicy, checkExtended},
	{"interim-replies", "no more than a few 1xx replies come first", "RFC 9110, section 15.2", LevelPolicy, checkInterim},
	{"407-proxy-authenticate", "a 407 has a challenge in Proxy-Authenticate", "RFC 9110, section 15.5.8", LevelMust, onRefusal(checkChallenge)},
	{"401-for-407", "credentials for the proxy are asked for by 407", "RFC 9110, section 15.5.8", LevelShould, onRefusal(check401)},
	{"redirect", "a refusal is no redirect", "RFC 9110, section 15.4", LevelPolicy, onRefusal(checkRedirect)},
	{"http2-refusal", "a refusal leaves the connection to the other streams", "RFC 9113, section 5.4.2", LevelShould, onRefusal(checkGoAway)},
	{"proxy-status", "a refusal tells its cause in Proxy-Status", "RFC 9209, section 2", LevelPolicy, onRefusal(checkCause)},
	{"proxy-status-syntax", "Proxy-Status is a list of structured fields", "RFC 9209, section 2", LevelMust, onHead(checkProxyStatusSyntax)},
}

// checksOf returns the checks for an exchange.
func checksOf(x *client.Exchange) []check {
	if x.HTTP2 {
		return checksHTTP2[:]
	}
	return checks[:]
}

func checkHead2(s *subject) outcome {
	switch {
	case s.reply != nil:
		return outcome{grade: Pass}
	case s.Err != nil:
		return outcome{Fail, tunnel.AsError(s.Err, tunnel.PhaseReply).Cause()}
	}
	return outcome{Skip, "no answer came"}
}

// received returns the first frame from the proxy whose description begins with
// start.
func (s *subject) received(start string) (client.Frame, bool) {
	for _, f := range s.frames {
		if !f.Sent && strings.HasPrefix(f.Words, start) {
			return f, true
		}
	}
	return client.Frame{}, false
}

func checkSettings(s *subject) outcome {
	ack, acked := s.received("SETTINGS ACK")
	switch first, ok := s.received(""); {
	case !ok:
		return outcome{Skip, "no frame came"}
	case !strings.HasPrefix(first.Words, "SETTINGS") || first == ack:
		return outcome{Fail, "the first frame is " + first.Words}
	case !acked:
		return outcome{Warn, "ours were not acknowledged by then"}
	}
	return outcome{grade: Pass}
}

// checkExtended demands nothing; it only reports.
func checkExtended(s *subject) outcome {
	for _, f := range s.frames {
		if !f.Sent && f.Extended {
			return outcome{Pass, "SETTINGS_ENABLE_CONNECT_PROTOCOL is 1"}
		}
	}
	return outcome{Skip, "extended CONNECT is not announced"}
}

func checkGoAway(s *subject) outcome {
	if f, ok := s.received("GOAWAY"); ok {
		return outcome{Warn, f.Words}
	}
	return outcome{grade: Pass}
}
