package audit

import (
	"net"
	"strings"
	"time"

	"culvert/tunnel/internal/wire"
	"culvert/tunnel/probe"
)

const (
	earlyRule  = "RFC 9931, section 8"
	statusRule = "RFC 9209, section 2"
)

// refusedRequest is refused by every proxy, since its port is invalid.
const refusedRequest = "CONNECT {host}:0 HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n"

// unreachedRequest asks for a port where nothing listens.
const unreachedRequest = "CONNECT {closed} HTTP/1.1\r\nHost: {closed}\r\n{auth}\r\n"

// hidden is a request sent right after a CONNECT. If the target gets it, the proxy
// took the bytes after the CONNECT for a request.
const hidden = "GET http://{target}/hidden HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n"

// refusals is about CONNECTs that open no tunnel.
var refusals = []check{
	{"refusal-closes", "a refused CONNECT's connection is closed", earlyRule, must, needTarget, refusalCloses(unreachedRequest)},
	{"refusal-400-closes", "a malformed CONNECT's connection is closed", earlyRule, must, needTarget, refusalCloses(refusedRequest)},
	{"refusal-smuggle", "bytes behind a refused CONNECT are no request", earlyRule, must, needPlain, notSmuggled(unreachedRequest)},
	{"refusal-400-smuggle", "bytes behind a malformed CONNECT are no request", earlyRule, must, needPlain, notSmuggled(refusedRequest)},
	{"refusal-framed", "a refusal's content is framed, and whole", "RFC 9112, section 6.3", must, needTarget, refusalFramed},
	{"refusal-head", "a refusal's head is well-formed", "RFC 9112, section 2.1", must, needTarget, refusalHead},
	{"refusal-readable", "a refusal arrives though the client sent more than was read", earlyRule, policyLevel, needTarget, refusalReadable},
	{"refusal-code", "a target that refuses is told by 502, 503 or 504", "RFC 9110, section 15.6", policyLevel, needTarget, refusalCode},
	{"refusal-prompt", "a target that refuses is told at once", "RFC 9110, section 15.6", policyLevel, needTarget, refusalPrompt},
	{"refusal-proxy-status", "the cause stands in Proxy-Status", statusRule, policyLevel, needTarget, refusalStatus},
	{"refusal-status-syntax", "Proxy-Status is a list of structured fields", statusRule, must, needTarget, refusalStatusSyntax},
	{"refusal-unknown-name", "a name that cannot exist is told by 502, 503 or 504", "RFC 9110, section 15.6", policyLevel, needNothing, unknownName},
	{"refusal-no-echo", "a refusal does not bring the request's fields back", "RFC 9110, section 17", policyLevel, needTarget, refusalNoEcho},
	{"refusal-407", "credentials are asked for by 407 and Proxy-Authenticate", "RFC 9110, section 15.5.8", must, needTarget, asks407},
	{"refusal-407-smuggle", "bytes behind a CONNECT that gets 407 are no request", earlyRule, must, needPlain, notSmuggled407},
	{"refusal-407-closes", "the connection is closed after 407 to CONNECT", earlyRule, must, needTarget, closes407},
}

// refused sends a request and returns its refusal. It skips the check if the proxy
// opens a tunnel.
func (t *trial) refused(request string) (*talk, *wire.Reply) {
	t.serveEcho()
	k := t.talk()
	k.send(request)
	reply := k.wantReply()
	if reply.Code/100 == 2 {
		t.skip(`it was not refused: "%s"`, line(reply))
	}
	return k, reply
}

// refusalCloses returns a try that wants the connection closed after the refusal of
// the request.
func refusalCloses(request string) func(*trial) {
	return func(t *trial) {
		k, reply := t.refused(request)
		k.wantClosed(reply)
	}
}

// wantClosed wants the connection closed after a refusal. A connection that stays open
// breaks the rule if a further request is answered on it; otherwise it is a warning.
func (k *talk) wantClosed(refusal *wire.Reply) {
	if _, err := k.content(refusal); err != nil {
		k.warn("the content does not end: %s", reason(err))
	}
	if closed, _ := k.readToEnd(3 * k.Quiet); closed {
		return
	}
	k.target.serve(originOf(nil, func(*originRequest) string { return okReply }))
	k.setDeadline(k.Patience)
	k.send(hidden)
	if second, err := k.reply(); err == nil {
		k.fail(`it stays open, and a further request, sent after that answer, is answered: "%s"`, line(second))
	}
	k.warn("it stays open, though a further request gets no answer")
}

// smuggled sends a request that is refused with further bytes after it, and fails the
// check if the proxy took these for a request.
func smuggled(t *trial, request, behind string) {
	arrived := make(chan string, 1)
	t.target.serve(originOf(func(s *originRequest) { offer(arrived, s.raw) }, func(*originRequest) string { return "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhidden" }))
	k := t.talk()
	k.send(request + behind)
	reply := k.wantReply()
	if reply.Code/100 == 2 {
		t.skip(`it was not refused: "%s"`, line(reply))
	}
	_, rest := k.readToEnd(2 * t.Quiet)
	if t.target.reached() > 0 {
		select {
		case head := <-arrived:
			t.fail(`the target got the request that was hidden behind the CONNECT: "%s"`, wire.Escape([]byte(head), 200))
		default:
			t.fail("the target was connected to, for the request that was hidden behind the CONNECT")
		}
	}
	if content, _, _ := strings.Cut(string(rest), "HTTP/1."); len(content) < len(rest) {
		t.fail("a second answer came: the bytes behind the CONNECT were read as a request")
	}
}

// notSmuggled returns a try of smuggled with a hidden request.
func notSmuggled(request string) func(*trial) {
	return func(t *trial) { smuggled(t, request, hidden) }
}

func refusalFramed(t *trial) {
	k, reply := t.refused(unreachedRequest)
	if _, err := reply.Framing(); err != nil {
		t.fail("%s", err)
	}
	if _, err := k.content(reply); err != nil {
		t.fail("the content broke off: %s", reason(err))
	}
}

func refusalHead(t *trial) {
	_, reply := t.refused(unreachedRequest)
	for _, kind := range []wire.FlawKind{wire.BareLF, wire.BareCR, wire.ObsFold, wire.SpaceBeforeColon, wire.NoColon, wire.EmptyName,
		wire.BadName, wire.ControlChar, wire.ExtraSpace, wire.NoReason} {
		if _, flawed := reply.Flaw(kind); flawed {
			t.fail("%s", kind)
		}
	}
}

// refusalReadable sends data early that a proxy that refuses does not read. If the
// proxy then closes at once, the connection is reset and the answer is lost.
func refusalReadable(t *trial) {
	t.serveEcho()
	k := t.talk()
	k.send(unreachedRequest)
	k.send(strings.Repeat("early bytes ", 16<<10))
	reply, err := k.reply()
	if err != nil {
		t.warn("it did not: %s", reason(err))
	}
	if _, err := k.content(reply); err != nil {
		t.warn("its content did not: %s", reason(err))
	}
}

func refusalCode(t *trial) {
	_, reply := t.refused(unreachedRequest)
	switch reply.Code {
	case 502, 503, 504:
	case 403:
		t.skip("the proxy does not allow the port")
	default:
		t.warn(`"%s"`, line(reply))
	}
}

func refusalPrompt(t *trial) {
	started := time.Now()
	t.refused(unreachedRequest)
	if took := time.Since(started); took > time.Second {
		t.warn("it took %d ms", took.Milliseconds())
	} else {
		t.pass("after %d ms", took.Milliseconds())
	}
}

func refusalStatus(t *trial) {
	_, reply := t.refused(unreachedRequest)
	value := wire.Escape([]byte(reply.Get("Proxy-Status")), 120)
	switch {
	case value == "":
		t.warn("there is no such field: clients have to guess the cause")
	case !strings.Contains(value, "error="):
		t.warn("no error in it: %s", value)
	}
	t.pass("%s", value)
}

func refusalStatusSyntax(t *trial) {
	_, reply := t.refused(unreachedRequest)
	values := reply.Values("Proxy-Status")
	if len(values) == 0 {
		t.skip("there is no Proxy-Status")
	}
	if err := probe.CheckProxyStatus(values); err != nil {
		t.fail(`%s: "%s"`, err, wire.Escape([]byte(strings.Join(values, ", ")), 120))
	}
}

func unknownName(t *trial) {
	k := t.talk()
	k.send("CONNECT culvert-audit.invalid:443 HTTP/1.1\r\nHost: culvert-audit.invalid:443\r\n{auth}\r\n")
	reply := k.wantReply()
	switch {
	case reply.Code/100 == 2:
		t.fail("a tunnel was opened: whoever answers there is not the target")
	case reply.Code >= 502 && reply.Code <= 504:
	case reply.Code == 403, reply.Code == 407:
		t.skip(`the proxy did not try: "%s"`, line(reply))
	default:
		t.warn(`"%s"`, line(reply))
	}
}

func refusalNoEcho(t *trial) {
	const secret = "echo-6f1c2d9b"
	t.serveEcho()
	k := t.talk()
	k.send("CONNECT {closed} HTTP/1.1\r\nHost: {closed}\r\n{auth}X-Secret: " + secret + "\r\n\r\n")
	reply := k.wantReply()
	content, _ := k.content(reply)
	if strings.Contains(string(reply.Raw)+string(content), secret) {
		t.warn("the content has a field of the request's: behind a second proxy that may be credentials")
	}
}

// challenged sends a CONNECT without credentials, and returns the challenge. It skips
// the check if the proxy wants no credentials.
func (t *trial) challenged(behind string) (*talk, *wire.Reply) {
	if t.login == nil {
		t.skip("the audit has no credentials to leave out")
	}
	if t.login.Bound() { // to log in first would be to send the credentials
		behind = strings.ReplaceAll(behind, authMark, "")
	}
	k := t.talk()
	k.send("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n" + behind)
	reply := k.wantReply()
	if reply.Code/100 == 2 {
		t.skip("the proxy wants no credentials")
	}
	return k, reply
}

func asks407(t *trial) {
	_, reply := t.challenged("")
	if reply.Code != 407 || !reply.Has("Proxy-Authenticate") {
		t.fail(`"%s", Proxy-Authenticate: %q`, line(reply), reply.Get("Proxy-Authenticate"))
	}
}

func closes407(t *trial) {
	k, reply := t.challenged("")
	for _, challenge := range reply.Values("Proxy-Authenticate") {
		if scheme, _, _ := strings.Cut(challenge, " "); strings.EqualFold(scheme, "NTLM") || strings.EqualFold(scheme, "Negotiate") {
			if closed, _ := k.readToEnd(3 * t.Quiet); !closed {
				t.warn("it stays open, as logins by NTLM and Negotiate need it")
			}
			return
		}
	}
	k.wantClosed(reply)
}

func notSmuggled407(t *trial) {
	t.target.serve(func(net.Conn) {})
	k, _ := t.challenged(hidden)
	_, rest := k.readToEnd(2 * t.Quiet)
	if t.target.reached() > 0 || strings.Contains(string(rest), "HTTP/1.") {
		t.fail("the bytes behind the CONNECT were read as a request")
	}
}
