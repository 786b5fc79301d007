package tunnel

import (
	"strings"

	"culvert/tunnel/internal/page"
)

// explainSilence is for a proxy that was reached and gave no answer, or none
// that a proxy would give.
func (e *Error) explainSilence() (sentence, hint string) {
	check := "check " + e.where("the proxy's host and port")
	switch e.Type {
	case ErrorConnectionReadTimeout:
		if len(e.answered().Began) > 0 {
			return e.proxy() + " began an answer and did not finish it in time", "it is overloaded or not a proxy: see it with culvert probe, or wait longer with --timeout"
		}
		hint = e.whyMute()
		return e.proxy() + " did not answer in time", hint + check + ", or wait longer with --timeout"
	case ErrorConnectionTerminated:
		if broken := HTTP2Failure(e.Err); broken != "" {
			return e.proxy() + " gave no answer: " + broken, "HTTP/2 itself works there, but no tunnel: ask the proxy's administrator, or try HTTP/1.1 with http://"
		}
		hint = e.whyHungUp()
		return e.proxy() + " closed the connection without an answer", hint + check
	case ErrorResponseIncomplete:
		return e.proxy() + " closed the connection within its answer's head", "it failed, or is not a proxy: see what came with culvert probe"
	case ErrorResponseHeadSize:
		return e.proxy() + " sent an answer whose head is larger than 64 KiB", "it is not a proxy, or a broken one: see what came with culvert probe"
	}
	if cause, foreign := strings.CutPrefix(e.cause(), "it does not speak socks"); foreign {
		return e.proxy() + " is not a SOCKS proxy: it does not speak socks" + cause, e.whatSpeaks(check)
	}
	if e.answered().Foreign {
		return e.proxy() + " is not an HTTP proxy: " + strings.TrimPrefix(e.cause(), "the answer is not HTTP: "), e.whatSpeaks(check)
	}
	return e.proxy() + " sent a malformed answer: " + e.cause(), "it is not a proxy, or a broken one: see what came with culvert probe"
}

// whyMute guesses why a proxy says nothing. One that has the request may itself
// wait for the target.
func (e *Error) whyMute() string {
	switch {
	case e.Phase == PhaseRequest:
		return "it is overloaded or not a proxy: "
	case e.speaksSOCKS():
		return "it may be no SOCKS proxy (for HTTP, use http://), or wait for " + e.Target.String() + " in vain: "
	}
	return "it may wait for " + e.Target.String() + " in vain, be overloaded, or be no proxy: "
}

// whyHungUp guesses why a proxy closes without a word: relays in front of one
// do so when that is down.
func (e *Error) whyHungUp() string {
	const some = "it may serve certain clients only, "
	switch {
	case e.speaksSOCKS():
		return some + "or be no SOCKS proxy: "
	case e.Scheme == SchemeH2C:
		return "it may not speak HTTP/2 in clear, for which use http:// or https://, or serve certain clients only: "
	case e.Scheme == SchemeHTTPS || e.Scheme == SchemeH2:
		return some + "or be a relay whose proxy is down, or no HTTP proxy: "
	}
	if e.answered().TriedTLS {
		return some + "be a relay whose proxy is down, want the PROXY protocol before the request, or be no HTTP proxy: "
	}
	return some + "be a relay whose proxy is down, want TLS, for which use https://, or the PROXY protocol before the request, or be no HTTP proxy: "
}

func (e *Error) speaksSOCKS() bool { return Hop{Scheme: e.Scheme}.isSOCKS() }

// openings tell what really listens by the first bytes it sends.
var openings = [...]struct{ bytes, hint string }{
	{"HTTP/1.", "it speaks HTTP/1.1, so use http:// or https://, or: "},
	{"SSH-", "an ssh server listens there: "},
	{"\x15\x03", "that port wants TLS: use https:// if it is a proxy's; "},
	{"\x16\x03", "that port speaks TLS: use https:// if it is a proxy's; "},
	{"\x05", "that looks like a socks proxy: use socks5h://, or: "},
	{"\x00\x00", "that looks like HTTP/2: use h2c:// if it is a proxy's; "},
	{"220", "a mail or ftp server listens there: "},
	{"+OK", "a mail server (POP3) listens there: "},
	{"* OK", "a mail server (IMAP) listens there: "},
	{"RFB 00", "a VNC server listens there: "},
	{"-ERR unknown command", "a Redis server listens there: "},
	{"-ERR wrong number of arguments", "a Redis server listens there: "},
	{"-DENIED Redis", "a Redis server listens there: "},
	{"-NOAUTH", "a Redis server listens there: "},
	{"\xff\xfb", "a telnet server listens there: "}, // RFC 854: IAC WILL
	{"\xff\xfd", "a telnet server listens there: "}, // IAC DO
	{"RTSP/1.0", "an RTSP server listens there: "},
	{"SIP/2.0", "a SIP server listens there: "},
	{"ICAP/1.0", "an ICAP server, a filter for proxies, listens there: "},
}

// whatSpeaks also knows an opening of which only the first bytes were read, as
// SOCKS does.
func (e *Error) whatSpeaks(check string) string {
	raw := string(e.answered().Began)
	switch {
	case isMySQL(raw):
		return "a MySQL server listens there: " + check
	case page.Content(e.answered().Began).IsHTML():
		return "it sends a page without a head, as HTTP/0.9 had it, and is a web server: " + check
	}
	for _, o := range openings {
		if strings.HasPrefix(raw, o.bytes) || len(raw) >= 2 && strings.HasPrefix(o.bytes, raw) {
			return o.hint + check
		}
	}
	return check
}

// isMySQL knows the greeting: a packet's length, its number 0, the protocol 10 and
// the server's version, or an error in its stead.
func isMySQL(raw string) bool {
	if len(raw) < 6 || raw[0] == 0 || raw[1:4] != "\x00\x00\x00" {
		return false
	}
	return raw[4] == 10 && raw[5] >= '0' && raw[5] <= '9' || raw[4] == 0xff && int(raw[0]) <= len(raw)-4
}
