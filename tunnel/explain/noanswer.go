package explain

import (
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/internal/page"
)

// noAnswer explains a proxy that was reached but gave no answer, or none that a
// proxy would give.
func (x explanation) noAnswer() (sentence, hint string) {
	check := "check " + x.setting("the proxy's host and port")
	switch x.Type {
	case tunnel.ErrorConnectionReadTimeout:
		if x.login.FellSilent {
			return x.silentLogin()
		}
		if len(x.answer.Start) > 0 {
			return x.proxy() + " began an answer and did not finish it in time", "it is overloaded or not a proxy: see it with culvert probe, or wait longer with --timeout"
		}
		hint = x.silentHint()
		return x.proxy() + " did not answer in time", hint + check + ", or wait longer with --timeout"
	case tunnel.ErrorConnectionTerminated:
		if x.login.Failed != nil {
			return x.interruptedLogin()
		}
		if broken := client.HTTP2Failure(x.Err); broken != "" {
			return x.proxy() + " gave no answer: " + broken, "HTTP/2 itself works there, but no tunnel: ask the proxy's administrator, or try HTTP/1.1 with http://"
		}
		hint = x.hungUpHint()
		return x.proxy() + " closed the connection without an answer", hint + check
	case tunnel.ErrorResponseIncomplete:
		return x.proxy() + " closed the connection within its answer's head", "it failed, or is not a proxy: see what came with culvert probe"
	case tunnel.ErrorResponseHeadSize:
		return x.proxy() + " sent an answer whose head is larger than 64 KiB", "it is not a proxy, or a broken one: see what came with culvert probe"
	}
	if cause, foreign := strings.CutPrefix(x.Cause(), "it does not speak socks"); foreign {
		return x.proxy() + " is not a SOCKS proxy: it does not speak socks" + cause, x.foreignHint(check)
	}
	if x.answer.WrongProtocol {
		return x.proxy() + " is not an HTTP proxy: " + strings.TrimPrefix(x.Cause(), "the answer is not HTTP: "), x.foreignHint(check)
	}
	return x.proxy() + " sent a malformed answer: " + x.Cause(), "it is not a proxy, or a broken one: see what came with culvert probe"
}

// silentHint says why a proxy may send nothing. One that has the request may itself
// be waiting for the target.
func (x explanation) silentHint() string {
	switch {
	case x.Phase == tunnel.PhaseRequest:
		return "it is overloaded or not a proxy: "
	case x.speaksSOCKS():
		return "it may be no SOCKS proxy (for HTTP, use http://), or wait for " + x.Target.String() + " in vain: "
	}
	return "it may wait for " + x.Target.String() + " in vain, be overloaded, or be no proxy: "
}

// hungUpHint says why a proxy may close the connection without an answer. A relay
// in front of a proxy does so when the proxy is down.
func (x explanation) hungUpHint() string {
	const some = "it may serve certain clients only, "
	switch {
	case x.speaksSOCKS():
		return some + "or be no SOCKS proxy: "
	case x.Scheme == tunnel.SchemeH2C:
		return "it may not speak HTTP/2 in clear, for which use http:// or https://, or serve certain clients only: "
	case x.Scheme == tunnel.SchemeHTTPS || x.Scheme == tunnel.SchemeH2:
		return some + "or be a relay whose proxy is down, or no HTTP proxy: "
	}
	if x.answer.TriedTLS {
		return some + "be a relay whose proxy is down, want the PROXY protocol before the request, or be no HTTP proxy: "
	}
	return some + "be a relay whose proxy is down, want TLS, for which use https://, or the PROXY protocol before the request, or be no HTTP proxy: "
}

func (x explanation) speaksSOCKS() bool { return tunnel.Hop{Scheme: x.Scheme}.IsSOCKS() }

// greetings identify other servers by the first bytes that they send.
var greetings = [...]struct{ bytes, hint string }{
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

// foreignHint says what listens instead of a proxy, if its first bytes are known,
// followed by check. A SOCKS handshake reads only some of a greeting.
func (x explanation) foreignHint(check string) string {
	raw := string(x.answer.Start)
	switch {
	case isMySQL(raw):
		return "a MySQL server listens there: " + check
	case page.Content(x.answer.Start).IsHTML():
		return "it sends a page without a head, as HTTP/0.9 had it, and is a web server: " + check
	}
	for _, o := range greetings {
		if strings.HasPrefix(raw, o.bytes) || len(raw) >= 2 && strings.HasPrefix(o.bytes, raw) {
			return o.hint + check
		}
	}
	return check
}

// isMySQL reports whether raw begins with a greeting of MySQL: the length of the
// packet, its number 0, and the protocol 10 with the server's version, or an error.
func isMySQL(raw string) bool {
	if len(raw) < 6 || raw[0] == 0 || raw[1:4] != "\x00\x00\x00" {
		return false
	}
	return raw[4] == 10 && raw[5] >= '0' && raw[5] <= '9' || raw[4] == 0xff && int(raw[0]) <= len(raw)-4
}
