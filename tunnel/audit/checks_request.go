package audit

import (
	"fmt"
	"slices"
	"strings"

	"culvert/tunnel/internal/wire"
	"culvert/tunnel/probe"
)

const (
	targetRule  = "RFC 9112, section 3.2" // an invalid request line gets 400, and is not corrected
	messageRule = "RFC 9112, section 2.2" // the same for a message that does not match the grammar
	hostRule    = "RFC 9112, section 3.2"
	fieldRule   = "RFC 9112, section 5.1"
	slowRule    = "RFC 9110, section 15.5.9"
	framingRule = "RFC 9112, section 6.3"
)

// targets is about authority-form: host and port, and nothing else.
var targets = []check{
	{"target-no-port", "a target without a port is refused", connectRule, must, needOpen, declines(connectTo("{host}"))},
	{"target-empty-port", "an empty port is refused", connectRule, must, needOpen, declines(connectTo("{host}:"))},
	{"target-port-0", "port 0 is refused", connectRule, must, needOpen, declines(connectTo("{host}:0"))},
	{"target-port-65536", "a port above 65535 is refused", connectRule, must, needOpen, declines(connectTo("{host}:65536"))},
	{"target-port-wraps", "a port does not wrap at 65536", connectRule, must, needOpen, func(t *trial) {
		declines(connectTo(fmt.Sprintf("{host}:%d", int(t.asked.Port())+65536)))(t)
	}},
	{"target-port-wraps-32", "a port does not wrap at 2 to the 32nd", connectRule, must, needOpen, func(t *trial) {
		declines(connectTo(fmt.Sprintf("{host}:%d", int64(t.asked.Port())+1<<32)))(t)
	}},
	{"target-port-letters", "a port with letters is refused", connectRule, must, needOpen, declines(connectTo("{host}:{port}x"))},
	{"target-port-sign", "a port with a sign is refused", connectRule, must, needOpen, declines(connectTo("{host}:+{port}"))},
	{"target-port-space", "a space within the target is refused", targetRule, should, needOpen, rejects(connectTo("{host}: {port}"))},
	{"target-userinfo", "a target with user information is refused", targetRule, should, needOpen, rejects(connectTo("me@{target}"))},
	{"target-path", "a target with a path is refused", targetRule, should, needOpen, rejects(connectTo("{target}/"))},
	{"target-absolute", "absolute-form is no CONNECT target", targetRule, should, needOpen, rejects(connectTo("http://{target}/"))},
	{"target-no-host", "an empty host leads nowhere", "RFC 9110, section 4.2.1", policyLevel, needOpen, leadsNowhere(connectTo(":{port}"))},
	{"target-bracket-name", "brackets are for IPv6 only", targetRule, should, needOpen, rejects(connectTo("[{host}]:{port}"))},
	{"target-bracket-open", "brackets that are not closed are refused", targetRule, should, needOpen, rejects(connectTo("[::1:{port}"))},
	{"target-high-byte", "bytes beyond ASCII are refused", targetRule, should, needOpen, rejects(connectTo("\xe4{target}"))},
	{"target-nul", "a NUL is refused", targetRule, should, needOpen, rejects(connectTo("{host}\x00:{port}"))},
	{"target-decimal-ip", "an address as one number is no way around the rules", "RFC 3986, section 7.4", policyLevel, needTarget, rejectsSpelling("2130706433")},
	{"target-hex-ip", "an address in hexadecimal is no way around the rules", "RFC 3986, section 7.4", policyLevel, needTarget, rejectsSpelling("0x7f000001")},
	{"target-short-ip", "a short address is no way around the rules", "RFC 3986, section 7.4", policyLevel, needTarget, rejectsSpelling("127.1")},
	{"target-octal-ip", "an address in octal is no way around the rules", "RFC 3986, section 7.4", policyLevel, needTarget, rejectsSpelling("0177.0.0.1")},
}

// heads is about the rest of the request head, and the framing of content.
var heads = []check{
	{"host-missing", "HTTP/1.1 without Host is refused", hostRule, must, needOpen, rejects("CONNECT {target} HTTP/1.1\r\n{auth}\r\n")},
	{"host-twice", "two Host fields are refused", hostRule, must, needOpen, rejects("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nHost: {target}\r\n{auth}\r\n")},
	{"host-invalid", "an invalid Host is refused", hostRule, must, needOpen, rejects("CONNECT {target} HTTP/1.1\r\nHost: a b:c\r\n{auth}\r\n")},
	{"method-case", "methods are case-sensitive", "RFC 9110, section 9.1", should, needOpen, rejects("connect {target} HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n", 405, 501)},
	{"version-missing", "a request line without a version is refused", messageRule, should, needOpen, rejects("CONNECT {target}\r\nHost: {target}\r\n{auth}\r\n")},
	{"version-2", "HTTP/2.0 in a request line is refused", "RFC 9110, section 6.2", policyLevel, needOpen, rejects("CONNECT {target} HTTP/2.0\r\nHost: {target}\r\n{auth}\r\n", 505)},
	{"version-odd", "a malformed version is refused", messageRule, should, needOpen, rejects("CONNECT {target} HTTP/1.x\r\nHost: {target}\r\n{auth}\r\n", 505)},
	{"field-space-colon", "a space before a field's colon is refused", fieldRule, must, needOpen, rejects("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{auth}X-A : b\r\n\r\n")},
	{"field-no-colon", "a field line without a colon is refused", messageRule, should, needOpen, rejects("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{auth}nothing\r\n\r\n")},
	{"field-nul", "a NUL in a field's value is refused, or replaced", "RFC 9110, section 5.5", must, needTarget, rejectsOrMends("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{auth}X-A: a\x00b\r\n\r\n")},
	{"field-bare-cr", "a CR without its LF is refused, or replaced", "RFC 9112, section 2.2", must, needTarget, rejectsOrMends("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{auth}X-A: a\rb\r\n\r\n")},
	{"field-fold", "a folded field line is refused, or unfolded", "RFC 9112, section 5.2", must, needTarget, rejectsOrMends("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{auth}X-A: a\r\n b\r\n\r\n")},
	{"leading-line", "an empty line before the request is passed over", "RFC 9112, section 2.2", should, needTarget, opens("\r\nCONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n")},
	{"length-on-connect", "a CONNECT with content is refused", connectRule, policyLevel, needOpen, rejects("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{auth}Content-Length: 4\r\n\r\nping")},
	{"coding-on-connect", "a CONNECT with Transfer-Encoding is refused", connectRule, policyLevel, needOpen, rejects("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{auth}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")},
	{"length-and-coding", "Content-Length beside Transfer-Encoding is refused", "RFC 9112, section 6.1", policyLevel, needOpen, rejects("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{auth}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")},
	{"lengths-differ", "two lengths that differ are refused", framingRule, must, needOpen, rejects("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{auth}Content-Length: 0\r\nContent-Length: 4\r\n\r\n")},
	{"length-invalid", "a length that is no number is refused", framingRule, must, needOpen, rejects("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{auth}Content-Length: +0\r\n\r\n")},
	{"coding-unknown", "an unknown transfer coding is refused", "RFC 9112, section 6.1", should, needOpen, rejects("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{auth}Transfer-Encoding: secret\r\n\r\n", 501)},
	{"garbage", "what is no HTTP is refused, or hung up on", messageRule, policyLevel, needNothing, refusesGarbage("\x00\x01\x02\x03 garbage\r\n\r\n")},
	{"tls-in-clear", "a TLS greeting is no request", messageRule, policyLevel, needNothing, refusesGarbage("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00\r\n\r\n")},
	{"head-bytewise", "a head may come a byte at a time", "RFC 9112, section 2.2", must, needTarget, bytewise},
	{"head-lines", "a hundred field lines are taken", "RFC 9110, section 5.4", policyLevel, needTarget, opens("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{auth}" + strings.Repeat("X-Field: value\r\n", 98) + "\r\n")},
	{"head-8k", "a field line of 8000 bytes is taken", "RFC 9110, section 5.4", policyLevel, needTarget, opens("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{auth}X-Field: " + strings.Repeat("a", 8000) + "\r\n\r\n")},
	{"head-limit", "heads have a limit", "RFC 9110, section 5.4", policyLevel, needTarget, headLimit},
	{"head-too-large", "a head above the limit is answered with a 4xx", "RFC 9110, section 5.4", must, needTarget, headTooLarge},
	{"head-slow", "a head that drips without end is ended", slowRule, policyLevel, needOpen, slowHead},
	{"head-silent", "a connection that sends nothing is ended", slowRule, policyLevel, needOpen, silentClient},
}

// connectTo returns a CONNECT for a target in which all else is right.
func connectTo(target string) string {
	return "CONNECT " + target + " HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n"
}

// refusalOf sends a request that must be refused, and returns the refusal. A tunnel
// fails the check. No answer is a warning: a proxy that closes the connection, or
// waits for more, opens no tunnel.
func (t *trial) refusalOf(request string) *wire.Reply {
	t.serveEcho()
	k := t.talk()
	k.send(request)
	reply, err := k.reply()
	switch {
	case err != nil && len(k.got.kept) > 0 && t.target != nil && t.target.reached() > 0:
		t.fail("it was not refused, it went to the target, and what came back is no answer: %s", reason(err))
	case err != nil && timedOut(err):
		t.warn("it was neither refused nor taken: nothing came in time")
	case err != nil:
		t.warn("no answer: %s", reason(err))
	case reply.Code/100 == 2:
		t.fail(`a tunnel was opened: "%s"`, line(reply))
	case reply.Code/100 < 4:
		t.fail(`the answer was "%s"`, line(reply))
	}
	return reply
}

// rejects returns a try that wants the request refused with 400, or one of the other
// codes. Any other refusal is a warning.
func rejects(request string, others ...int) func(*trial) {
	return func(t *trial) {
		if reply := t.refusalOf(request); reply.Code != 400 && !slices.Contains(others, reply.Code) {
			t.warn(`refused, but not as malformed: "%s"`, line(reply))
		}
	}
}

// declines returns a try that wants the request refused with any code: for an invalid
// port the standard demands no more than a refusal, with 400 as an example. A refusal
// that says that the target cannot be reached is a warning, since the proxy took the
// port for a valid one.
func declines(request string) func(*trial) {
	return func(t *trial) {
		if reply := t.refusalOf(request); reply.Code >= 502 && reply.Code <= 504 {
			t.warn(`it was not refused as such, it was tried, with whatever port: "%s"`, line(reply))
		}
	}
}

// leadsNowhere returns a try that wants no tunnel, and accepts any refusal.
func leadsNowhere(request string) func(*trial) {
	return func(t *trial) { t.refusalOf(request) }
}

// rejectsOrMends is rejects for a request that the proxy may repair instead. A tunnel
// does not show whether it did; the checks of plain requests do.
func rejectsOrMends(request string) func(*trial) {
	return func(t *trial) {
		o := t.attempt(rejects(request))
		if o.grade == probe.Fail {
			t.pass("the tunnel was opened: it may have been repaired")
		}
		panic(o)
	}
}

// rejectsSpelling returns a try that wants an address refused, with any code, in a
// spelling that only lenient resolvers accept.
func rejectsSpelling(host string) func(*trial) {
	return func(t *trial) {
		if !t.asked.Addr().IsLoopback() {
			t.skip("the target is not on loopback")
		}
		t.serveEcho()
		k := t.talk()
		k.send(fmt.Sprintf("CONNECT %s:{port} HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n", host))
		if reply := k.wantReply(); reply.Code/100 == 2 {
			t.warn("it leads to 127.0.0.1: rules that know the usual spelling only are passed by")
		}
	}
}

// refusesGarbage returns a try that wants an error, or the end of the connection, for
// text that is not HTTP.
func refusesGarbage(text string) func(*trial) {
	return func(t *trial) {
		k := t.talk()
		k.send(text)
		reply, err := k.reply()
		switch {
		case err != nil && timedOut(err):
			t.warn("neither an answer nor an end came in time")
		case err != nil:
			t.pass("%s", reason(err))
		case reply.Code/100 != 4 && reply.Code/100 != 5:
			t.fail(`the answer was "%s"`, line(reply))
		}
	}
}

func bytewise(t *trial) {
	t.serveEcho()
	k := t.talk()
	for _, c := range k.fill("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n") {
		k.send(string(c))
	}
	k.opened()
	k.send("ping")
	k.read("ping")
}
