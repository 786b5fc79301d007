package explain_test

import (
	"encoding/hex"
	"testing"

	"culvert/tunnel"
	"culvert/tunnel/explain"
	"culvert/tunnel/internal/clienttest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"
)

// Pages of real proxies say what their status hides.
func TestExplainPages(t *testing.T) {
	const spelling, barred = "check the spelling of a: the proxy resolves it, not this machine", "ask the proxy's administrator to let this machine in"
	const exists, wayOut = "check that a:22 exists and is up, as seen from the proxy", "the proxy's own way out does not work: tell its administrator"
	for _, tt := range []struct {
		name, status, page string
		exit               int
		sentence, hint     string
	}{
		{"Traffic Server, no name", "500 Cannot find server.", "<h1>Unknown Host</h1> the server does not have a DNS entry.", 7,
			"could not reach a:22: 500 Cannot find server. (its name server has no such name)", spelling},
		{"Privoxy, no name", "404 No such domain", "<h1>This is Privoxy 3</h1> No such domain", 7,
			"could not reach a:22: 404 No such domain (the name cannot be resolved)", spelling},
		{"404 of another", "404 No such domain", "<h1>hosted nowhere</h1>", 8,
			"did not understand CONNECT for a:22: 404 No such domain (hosted nowhere)", "it may be a web server, not a proxy, or want TLS, for which use https://: check the proxy's host and port"},
		{"Apache, no name", "502 Proxy Error", "<p>Reason: <strong>DNS lookup failure for: a</strong>", 7,
			"could not reach a:22: 502 Proxy Error (the name cannot be resolved)", spelling},
		{"tinyproxy", "500 Unable to connect", "<p>Tinyproxy was unable to connect to the remote web server.", 7,
			"could not reach a:22: 500 Unable to connect (the connection failed)", exists},
		{"Privoxy, no connection", "503 Connect failed", "<p>This is Privoxy 3. Connect failed", 7,
			"could not reach a:22: 503 Connect failed (the connection failed)", exists},
		{"HAProxy without servers", "503 Service Unavailable", "<h1>503 Service Unavailable</h1>\nNo server is available to handle this request.\n", 7,
			"could not reach a:22: 503 Service Unavailable (No server is available to handle this request)", wayOut},
		{"Cntlm without parent", "502 Parent proxy unreacheable", "<h1>502 Parent proxy unreacheable</h1>", 7,
			"could not reach a:22: 502 Parent proxy unreacheable (it does not reach the proxy behind it)", wayOut},
		{"Cntlm, client", "407 Access denied", "<p>Your request has been declined, 192.0.2.1 is not allowed to connect.", 6,
			"refused a:22: 407 Access denied (it does not serve this client)", barred},
		{"tinyproxy, client", "403 Access denied", "<p>... has not configured it to service requests from your host.", 6,
			"refused a:22: 403 Access denied (... has not configured it to service requests from your host)", barred},
		{"culvert, client", "403 Forbidden", "403 Forbidden: clients from this address are not served\n", 6,
			"refused a:22: 403 Forbidden (clients from this address are not served)", barred},
		{"status and reason again", "403 Forbidden", "<h1>403 Forbidden</h1> by rules", 6,
			"refused a:22: 403 Forbidden (by rules)", "ask the proxy's administrator to allow port 22, or use an ssh server that listens on 443"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := tunneltest.StartProxy(t, tunneltest.Answer("HTTP/1.1 "+tt.status+"\r\n\r\n"+tt.page)...)
			_, err := clienttest.Proxied(t, p.Addr()).Open(t.Context(), testkit.MustAuthority(t, "a:22"))
			clienttest.WantExplained(t, err, "proxy "+p.Addr()+" "+tt.sentence, tt.hint)
			if got := tunnel.ExitCode(err); got != tt.exit {
				t.Errorf("exit code %d, want %d", got, tt.exit)
			}
		})
	}
}

// A server that is no proxy is recognized by its greeting.
func TestExplainGreetings(t *testing.T) {
	const check = "check the proxy's host and port"
	for _, tt := range []struct{ answer, hint string }{
		{"+OK POP3 ready\r\n", "a mail server (POP3) listens there: "},
		{"* OK IMAP4rev1\r\n", "a mail server (IMAP) listens there: "},
		{"RFB 003.008\n", "a VNC server listens there: "},
		{"\x4a\x00\x00\x00\x0a8.0.36\x00abc", "a MySQL server listens there: "},
		{"\x09\x00\x00\x00\xff\x6a\x04#HY000", "a MySQL server listens there: "},
		{"-ERR unknown command 'CONNECT'\r\n", "a Redis server listens there: "},
		{"-ERR what\r\n", ""},
		{"\xff\xfd\x18\xff\xfd\x20", "a telnet server listens there: "},
		{"RTSP/1.0 400 Bad Request\r\n\r\n", "an RTSP server listens there: "},
		{"SIP/2.0 400 Bad Request\r\n\r\n", "a SIP server listens there: "},
		{"ICAP/1.0 400 Bad Request\r\n\r\n", "an ICAP server, a filter for proxies, listens there: "},
		{"<HTML><body>400", "it sends a page without a head, as HTTP/0.9 had it, and is a web server: "},
		{"<xml>", ""},
		{"\x4a\x00\x00\x00", ""},
	} {
		p := tunneltest.StartProxy(t, tunneltest.Answer(tt.answer)...)
		_, err := clienttest.Proxied(t, p.Addr()).Open(t.Context(), testkit.MustAuthority(t, "a:22"))
		if _, hint := explain.Error(err); hint != tt.hint+check {
			t.Errorf("%q: %q, want %q", tt.answer, hint, tt.hint+check)
		}
	}
}

// Servers of other protocols instead of a SOCKS or HTTP/2 proxy, and the hints for
// refusals in SOCKS.
func TestExplainForeign(t *testing.T) {
	const check = "check the proxy's host and port"
	const http = "it speaks HTTP/1.1, so use http:// or https://, or: "
	for _, tt := range []struct{ scheme, answer, sentence, hint string }{
		{"socks5h://", "HTTP/1.1 400 Bad Request\r\n\r\n", ` is not a SOCKS proxy: it does not speak socks5h: it begins with "HT"`, http + check},
		{"socks5h://", "SSH-2.0-x\r\n", ` is not a SOCKS proxy: it does not speak socks5h: it begins with "SS"`, "an ssh server listens there: " + check},
		{"socks4a://", "\x05\xff", ` is not a SOCKS proxy: it does not speak socks4a: it begins with "\x05\xff"`, "that looks like a socks proxy: use socks5h://, or: " + check},
		{"socks4a://", "\x00\x5b\x00\x00\x00\x00\x00\x00", " could not reach a:22: rejected or failed",
			"check that a:22 exists and is up, as seen from the proxy, or ask its administrator whether its rules allow it"},
		{"socks5h://me:pw@", "\x05\xff", " wants credentials for a:22: of another kind than a user name and a password",
			"culvert knows no other login for SOCKS: ask the proxy's administrator to take a password"},
		{"h2c://", "SSH-2.0-x\r\n", ` is not an HTTP proxy: it does not speak HTTP/2: it begins with "SSH-2.0-x"`, "an ssh server listens there: " + check},
	} {
		t.Run(tt.scheme+hex.EncodeToString([]byte(tt.answer[:2])), func(t *testing.T) {
			p := tunneltest.StartProxy(t, tunneltest.Send(tt.answer), tunneltest.Finish)
			_, err := clienttest.Proxied(t, tt.scheme+p.Addr()).Open(t.Context(), testkit.MustAuthority(t, "a:22"))
			clienttest.WantExplained(t, err, "proxy "+p.Addr()+tt.sentence, tt.hint)
		})
	}
}
