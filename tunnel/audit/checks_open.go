package audit

import (
	"fmt"
	"net"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/internal/wire"
	"culvert/tunnel/probe"
)

const (
	must        = probe.LevelMust
	should      = probe.LevelShould
	policyLevel = probe.LevelPolicy
)

const connectRule = "RFC 9110, section 9.3.6"

// opening is about the 2xx reply and what may come with it.
var opening = []check{
	{"connect", "CONNECT opens a tunnel", connectRule, must, needNothing, connects},
	{"connect-carries", "what goes through the tunnel reaches the target, and comes back", connectRule, must, needOpen, carries},
	{"connect-2xx-head", "the 2xx is a well-formed head", "RFC 9112, section 2.1", must, needOpen, flawlessReply},
	{"connect-2xx-length", "the 2xx has no Content-Length", connectRule, must, needOpen, without2xx("Content-Length")},
	{"connect-2xx-coding", "the 2xx has no Transfer-Encoding", connectRule, must, needOpen, without2xx("Transfer-Encoding")},
	{"connect-2xx-version", "the 2xx says HTTP/1.1", "RFC 9110, section 6.2", should, needOpen, versionOf2xx},
	{"connect-at-once", "the 2xx does not wait for the target to speak", connectRule, policyLevel, needTarget, func(t *trial) {
		t.target.serve(func(conn net.Conn) { _, _ = conn.Read(make([]byte, 1)) })
		t.open("")
	}},
	{"connect-other-host", "the request's target counts, whatever Host says", "RFC 9112, section 3.3", should, needTarget, func(t *trial) {
		t.serveEcho()
		k := t.talk()
		k.send("CONNECT {target} HTTP/1.1\r\nHost: elsewhere.invalid:443\r\n{auth}\r\n")
		reply := k.wantReply()
		switch {
		case reply.Code/100 == 2:
			k.send("ping")
			k.read("ping")
		case reply.Code == 400:
			t.pass("refused as malformed")
		default:
			t.warn(`refused with "%s"`, line(reply))
		}
	}},
	{"connect-http10", "an HTTP/1.0 CONNECT without Host opens a tunnel", "RFC 9112, section 3.2", policyLevel, needTarget, opens("CONNECT {target} HTTP/1.0\r\n{auth}\r\n")},
	{"connect-no-fields", "no field but Host is wanted", connectRule, policyLevel, needTarget, opens("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n")},
	{"connect-upper-case", "host names are the same in either case", "RFC 9110, section 4.2.3", should, needTarget, opensName(strings.ToUpper)},
	{"connect-name", "a target may be a name", connectRule, must, needTarget, opensName(func(s string) string { return s })},
	{"connect-root-dot", "a name may end in the root's dot", "RFC 3986, section 3.2.2", policyLevel, needTarget, opensName(func(s string) string { return s + "." })},
	{"connect-ipv6", "a target may be an IPv6 literal in brackets", connectRule, must, needTarget, opensIPv6},
}

// carries tries what every check that needs the target relies on. A proxy that
// inspects TLS opens tunnels, but carries nothing that it does not understand.
func carries(t *trial) {
	if t.target == nil {
		t.skip("there is no target of the audit's own")
	}
	t.target.serve(echo)
	k := t.open("")
	k.send("ping")
	k.read("ping")
}

// serveEcho makes the target echo, if there is one of the audit's own.
func (t *trial) serveEcho() {
	if t.target != nil {
		t.target.serve(echo)
	}
}

func connects(t *trial) {
	if t.asked.IsZero() {
		t.skip("%s", t.missing[needOpen])
	}
	t.serveEcho()
	k := t.talk()
	k.send("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n")
	reply, err := k.reply()
	switch {
	case err != nil && timedOut(err):
		t.skip("nothing came in time: the proxy waits for the target, or for something else, or is none")
	case err != nil:
		t.fail("no answer: %s", reason(err))
	case reply.Code == 403, reply.Code == 407, reply.Code == 429, reply.Code == 451, reply.Code/100 == 3:
		t.skip(`the proxy does not allow it: "%s"`, line(reply))
	case reply.Code == 405, reply.Code == 501:
		t.skip(`the proxy has no CONNECT: "%s"`, line(reply))
	case reply.Code >= 502 && reply.Code <= 504:
		t.skip(`the proxy does not reach the target: "%s"`, line(reply))
	case reply.Code/100 != 2:
		t.fail(`the answer was "%s"`, line(reply))
	}
}

func flawlessReply(t *trial) {
	t.serveEcho()
	k := t.talk()
	k.send("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n")
	reply := k.opened()
	for _, kind := range []wire.FlawKind{wire.BareLF, wire.BareCR, wire.ObsFold, wire.SpaceBeforeColon, wire.NoColon, wire.EmptyName,
		wire.BadName, wire.ControlChar, wire.ExtraSpace, wire.NoReason} {
		if _, flawed := reply.Flaw(kind); flawed {
			t.fail("%s", kind)
		}
	}
}

// without2xx returns a try that fails if the 2xx has the field.
func without2xx(name string) func(*trial) {
	return func(t *trial) {
		t.serveEcho()
		k := t.talk()
		k.send("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n")
		if reply := k.opened(); reply.Has(name) {
			t.fail("%s: %s", name, wire.Escape([]byte(reply.Get(name)), 80))
		}
	}
}

// versionOf2xx accepts a 2xx in HTTP/1.0 from a proxy of HTTP/1.0. The version of its
// refusals shows whether it is one.
func versionOf2xx(t *trial) {
	t.serveEcho()
	k := t.talk()
	k.send("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{auth}\r\n")
	reply := k.opened()
	if reply.Minor > 0 {
		return
	}
	other := t.talk()
	other.send(refusedRequest)
	if refusal, err := other.reply(); err != nil || refusal.Code/100 == 2 {
		t.skip(`it says "%s", and nothing else says which version the proxy has`, line(reply))
	} else if refusal.Minor > 0 {
		t.warn(`it says "%s", though refusals say "%s"`, line(reply), line(refusal))
	}
	t.pass("it says HTTP/1.0, as refusals do: this is a proxy of HTTP/1.0")
}

// opens returns a try that wants the request to open a tunnel that carries bytes.
func opens(request string) func(*trial) {
	return func(t *trial) {
		t.serveEcho()
		k := t.talk()
		k.send(request)
		k.opened()
		k.send("ping")
		k.read("ping")
	}
}

// opensName returns a try that asks for the target by the name localhost, which every
// resolver knows, in some spelling.
func opensName(spell func(string) string) func(*trial) {
	return func(t *trial) {
		if !t.asked.Addr().IsLoopback() {
			t.skip("the target is not on loopback: it has no name that is known to be good")
		}
		k := t.talk()
		k.send("CONNECT localhost:{port} HTTP/1.1\r\nHost: localhost:{port}\r\n{auth}\r\n")
		if reply := k.wantReply(); reply.Code >= 500 {
			t.skip(`the proxy's resolver does not know localhost: "%s"`, line(reply))
		}
		opens(fmt.Sprintf("CONNECT %s:{port} HTTP/1.1\r\nHost: %[1]s:{port}\r\n{auth}\r\n", spell("localhost")))(t)
	}
}

func opensIPv6(t *trial) {
	if !t.asked.Addr().IsLoopback() {
		t.skip("the target is not on loopback")
	}
	six, err := listenTarget(fmt.Sprintf("[::1]:%d", t.asked.Port()), tunnel.Authority{}, nil) // a port that the proxy allows
	if err != nil {
		six, err = listenTarget("[::1]:0", tunnel.Authority{}, nil)
	}
	if err != nil {
		t.skip("this machine has no IPv6 on loopback")
	}
	defer six.close()
	six.serve(echo)
	k := t.talk()
	k.send(fmt.Sprintf("CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n{auth}\r\n", six.announced))
	reply := k.wantReply()
	switch {
	case reply.Code == 403:
		t.skip(`the proxy does not allow it: "%s"`, line(reply))
	case reply.Code/100 != 2:
		t.fail(`the answer was "%s"`, line(reply))
	}
	k.send("ping")
	k.read("ping")
}
