package explain_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/internal/clienttest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"
)

// What a proxy answers, and how that is explained. PROXY stands for its address.
func TestExplainAnswer(t *testing.T) {
	const credentialsHint = "give them with --proxy-user NAME and CULVERT_PROXY_PASSWORD, or --proxy-credentials FILE"
	for _, tt := range []struct {
		name, target, reply, sentence, hint string
	}{
		{"port refused, in the proxy's words", "example.com:22", "HTTP/1.1 403 Forbidden\r\nContent-Length: 43\r\n\r\ndestination port 22 is not allowed here.\r\n\r\n",
			"proxy PROXY refused example.com:22: 403 Forbidden (destination port 22 is not allowed here)",
			"ask the proxy's administrator to allow port 22, or use an ssh server that listens on 443"},
		{"other port refused", "example.com:8443", "HTTP/1.1 403\r\n\r\n",
			"proxy PROXY refused example.com:8443: 403 Forbidden", "ask the proxy's administrator to allow port 8443"},
		{"host refused", "example.com:443", "HTTP/1.1 403 Forbidden\r\n\r\n<html><body><h1>Blocked</h1> by policy",
			"proxy PROXY refused example.com:443: 403 Forbidden (Blocked by policy)", "ask the proxy's administrator to allow example.com"},
		{"usual port refused, in the proxy's words", "example.com:443", "HTTP/1.1 403 Forbidden\r\nProxy-Status: p; error=http_request_denied; details=\"Port not open\"\r\n\r\n",
			"proxy PROXY refused example.com:443: 403 Forbidden (Port not open)", "ask the proxy's administrator to allow port 443"},
		{"address refused", "example.com:443", "HTTP/1.1 403 Forbidden\r\nProxy-Status: p; error=destination_ip_prohibited\r\n\r\n",
			"proxy PROXY refused example.com:443: 403 Forbidden (destination ip prohibited)", "ask the proxy's administrator to allow the address that example.com leads to"},
		{"too many", "a:443", "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 60\r\n\r\n",
			"proxy PROXY refused a:443: 429 Too Many Requests", "the proxy limits how often: wait a while and try again"},
		{"legal reasons", "a:443", "HTTP/1.1 451 Unavailable For Legal Reasons\r\n\r\n",
			"proxy PROXY refused a:443: 451 Unavailable For Legal Reasons", "the proxy blocks it for legal reasons: ask its administrator which rule that is"},
		{"login page", "a:443", "HTTP/1.1 302 Found\r\nLocation: http://portal.example/\x1b[2J\r\n\r\n",
			`proxy PROXY answered a:443 with a redirect: 302 Found (to http://portal.example/\x1b[2J)`, "a login page may stand in the way: open any web page in a browser first"},
		{"credentials wanted", "a:22", "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Negotiate, Basic realm=\"a, b\"\r\nContent-Length: 0\r\n\r\n",
			"proxy PROXY wants credentials for a:22: 407 Proxy Authentication Required; it offers Negotiate, Basic", credentialsHint},
		{"credentials wanted, no scheme", "a:22", "HTTP/1.1 407 Auth\r\n\r\n",
			"proxy PROXY wants credentials for a:22: 407 Auth", credentialsHint},
		{"a page with the reason for its title", "a:22", "HTTP/1.1 403 Access violation\r\nContent-Type: text/html\r\n\r\n<h1>Access Violation</h1><p>not that port</p>",
			"proxy PROXY refused a:22: 403 Access violation (not that port)", "ask the proxy's administrator to allow port 22, or use an ssh server that listens on 443"},
		{"a page that begins like its reason", "a:22", "HTTP/1.1 403 No\r\nContent-Type: text/plain\r\n\r\nNot that port",
			"proxy PROXY refused a:22: 403 No (Not that port)", "ask the proxy's administrator to allow port 22, or use an ssh server that listens on 443"},
		{"squid's own word", "a:22", "HTTP/1.1 503 Service Unavailable\r\nX-Squid-Error: ERR_CONNECT_FAIL 111\r\nContent-Type: text/html\r\n\r\n<p>many words",
			"proxy PROXY could not reach a:22: 503 Service Unavailable (connection refused)", "nothing listens on port 22 there, as the proxy sees it: check the port, or whether the server runs"},
		{"a number that squid's table has not", "a:22", "HTTP/1.1 503 Service Unavailable\r\nX-Squid-Error: ERR_CONNECT_FAIL 5\r\n\r\n",
			"proxy PROXY could not reach a:22: 503 Service Unavailable (the connection failed)", "check that a:22 exists and is up, as seen from the proxy"},
		{"squid's page in a language of its own", "a:22", "HTTP/1.1 403 Forbidden\r\nX-Squid-Error: ERR_OUR_OWN 0\r\nContent-Type: text/plain\r\n\r\nask Eve",
			"proxy PROXY refused a:22: 403 Forbidden (ask Eve)", "ask the proxy's administrator to allow port 22, or use an ssh server that listens on 443"},
		{"a ticket wanted", "a:22", "HTTP/1.1 407 Auth\r\nProxy-Authenticate: Negotiate\r\n\r\n",
			"proxy PROXY wants credentials for a:22: 407 Auth; it offers Negotiate", "it wants a Kerberos ticket: get one with kinit, and leave --auth out"},
		{"credentials of another kind wanted", "a:22", "HTTP/1.1 407 Auth\r\nProxy-Authenticate: Hawk\r\nProxy-Authenticate: Kerberos\r\n\r\n",
			"proxy PROXY wants credentials for a:22: 407 Auth; it offers Hawk, Kerberos", "culvert knows Basic, Bearer, Digest, Negotiate and NTLM: ask the proxy's administrator to offer one of them"},
		{"401 for 407", "a:22", "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=x\r\n\r\n",
			"proxy PROXY wants credentials for a:22: 401 Unauthorized; it offers Basic", credentialsHint},
		{"web server", "a:443", "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\n\r\n",
			"proxy PROXY did not understand CONNECT for a:443: 405 Method Not Allowed", "it may be a web server, not a proxy, or want TLS, for which use https://: check the proxy's host and port"},
		{"https expected", "a:443", "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
			"proxy PROXY did not understand CONNECT for a:443: 400 Bad Request (Client sent an HTTP request to an HTTPS server)", "it may be a web server, not a proxy, or want TLS, for which use https://: check the proxy's host and port"},
		{"not found", "a:443", "HTTP/1.1 404 Not Found\r\n\r\n",
			"proxy PROXY did not understand CONNECT for a:443: 404 Not Found", "it may be a web server, not a proxy, or want TLS, for which use https://: check the proxy's host and port"},
		{"a login to be made", "a:443", "HTTP/1.1 511 Network Authentication Required\r\n\r\n",
			"proxy PROXY refused a:443: 511 Network Authentication Required", "a login page may stand in the way: open any web page in a browser first"},
		{"a redirect to nowhere", "a:443", "HTTP/1.1 301 Moved Permanently\r\n\r\n",
			"proxy PROXY refused a:443: 301 Moved Permanently", "ask the proxy's administrator to allow a"},
		{"not modified", "a:443", "HTTP/1.1 304 Not Modified\r\n\r\n",
			"proxy PROXY refused a:443: 304 Not Modified", "ask the proxy's administrator to allow a"},
		{"payment", "a:443", "HTTP/1.1 402 Payment Required\r\n\r\n",
			"proxy PROXY refused a:443: 402 Payment Required", "a quota may be used up, or a payment be due: ask who runs the proxy"},
		{"misdirected", "a:443", "HTTP/1.1 421 Misdirected Request\r\n\r\n",
			"proxy PROXY did not understand CONNECT for a:443: 421 Misdirected Request", "it answers for certain names only, and is no proxy under this one: check the proxy's host and port"},
		{"another protocol", "a:443", "HTTP/1.1 101 Switching Protocols\r\n\r\n",
			"proxy PROXY did not understand CONNECT for a:443: 101 Switching Protocols", "it changes to a protocol that nobody asked for, and is no proxy: check the proxy's host and port"},
		{"not implemented", "a:443", "HTTP/1.1 501 Unsupported method ('CONNECT')\r\n\r\n",
			"proxy PROXY did not understand CONNECT for a:443: 501 Unsupported method ('CONNECT')", "it may be a web server, not a proxy, or want TLS, for which use https://: check the proxy's host and port"},
		{"500", "a:443", "HTTP/1.1 500 Internal Server Error\r\n\r\n",
			"proxy PROXY failed on a:443: 500 Internal Server Error", "tell the proxy's administrator, or try again later"},
		{"502", "a:443", "HTTP/1.1 502 Bad Gateway\r\n\r\n",
			"proxy PROXY could not reach a:443: 502 Bad Gateway", "check that a:443 exists and is up, as seen from the proxy"},
		{"503", "a:443", "HTTP/1.1 503 Service Unavailable\r\n\r\n",
			"proxy PROXY could not reach a:443: 503 Service Unavailable", "the proxy is overloaded, stopping, or cannot reach a: check the name and the port, or try again later"},
		{"504", "a:443", "HTTP/1.1 504 Gateway Timeout\r\n\r\n",
			"proxy PROXY could not reach a:443: 504 Gateway Timeout", "check the name and the port: the server is down, or a firewall between the proxy and it drops the connection"},
		{"name unknown to the proxy", "a:443", "HTTP/1.1 502 Bad Gateway\r\nProxy-Status: p; error=dns_error; rcode=\"NXDOMAIN\"\r\n\r\n",
			"proxy PROXY could not reach a:443: 502 Bad Gateway (dns error, NXDOMAIN)", "check the spelling of a: the proxy resolves it, not this machine"},
		{"name server silent", "a:443", "HTTP/1.1 504 Gateway Timeout\r\nProxy-Status: p; error=dns_timeout\r\n\r\n",
			"proxy PROXY could not reach a:443: 504 Gateway Timeout (dns timeout)", "the proxy's name server does not answer: try again later, or tell the proxy's administrator"},
		{"target refused", "a:2222", "HTTP/1.1 503 No\r\nProxy-Status: p; error=connection_refused\r\n\r\n",
			"proxy PROXY could not reach a:2222: 503 No (connection refused)", "nothing listens on port 2222 there, as the proxy sees it: check the port, or whether the server runs"},
		{"target timed out", "a:443", "HTTP/1.1 502 Bad Gateway\r\nProxy-Status: p; error=connection_timeout\r\n\r\n",
			"proxy PROXY could not reach a:443: 502 Bad Gateway (connection timeout)", "the server is down, or a firewall between the proxy and it drops the connection"},
		{"proxy full", "a:443", "HTTP/1.1 503 Service Unavailable\r\nProxy-Status: p; error=connection_limit_reached\r\n\r\n",
			"proxy PROXY could not reach a:443: 503 Service Unavailable (connection limit reached)", "the proxy has no tunnel to spare: try again later"},
		{"loop", "a:443", "HTTP/1.1 502 Bad Gateway\r\nProxy-Status: p; error=proxy_loop_detected\r\n\r\n",
			"proxy PROXY could not reach a:443: 502 Bad Gateway (proxy loop detected)", "the proxy's own way out leads back to it: tell its administrator"},
		{"the proxy's parent fails", "a:443", "HTTP/1.1 502 Bad Gateway\r\nProxy-Status: p; error=http_protocol_error\r\n\r\n",
			"proxy PROXY could not reach a:443: 502 Bad Gateway (http protocol error)", "the proxy's own way out does not work: tell its administrator"},
		{"reason in control characters", "a:80", "HTTP/1.1 403 \x1b[31mNo\x07\r\n\r\n",
			`proxy PROXY refused a:80: 403 \x1b[31mNo\x07`, "ask the proxy's administrator to allow a"},
		{"long words are cut", "a:80", "HTTP/1.1 403 " + strings.Repeat("r", 1000) + "\r\n\r\n" + strings.Repeat("w", 1000),
			"proxy PROXY refused a:80: 403 " + strings.Repeat("r", 80) + "... (" + strings.Repeat("w", 200) + ")", "ask the proxy's administrator to allow a"},

		{"no answer", "a:443", "",
			"proxy PROXY closed the connection without an answer", "it may serve certain clients only, be a relay whose proxy is down, want TLS, for which use https://, or the PROXY protocol before the request, or be no HTTP proxy: check the proxy's host and port"},
		{"head broken off", "a:443", "HTTP/1.1 200 OK\r\n",
			"proxy PROXY closed the connection within its answer's head", "it failed, or is not a proxy: see what came with culvert probe"},
		{"head too large", "a:443", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 70<<10),
			"proxy PROXY sent an answer whose head is larger than 64 KiB", "it is not a proxy, or a broken one: see what came with culvert probe"},
		{"NUL", "a:443", "HTTP/1.1 200 \x00\r\n\r\n",
			"proxy PROXY sent a malformed answer: the head holds a NUL", "it is not a proxy, or a broken one: see what came with culvert probe"},
		{"lower case", "a:443", "http/1.1 200 ok\r\n\r\n",
			"proxy PROXY sent a malformed answer: HTTP stands in other letters than capitals in the status line", "it is not a proxy, or a broken one: see what came with culvert probe"},
		{"absurd status", "a:443", "HTTP/1.1 20 OK\r\n\r\n",
			"proxy PROXY sent a malformed answer: the status code is not three digits from 100 to 999", "it is not a proxy, or a broken one: see what came with culvert probe"},
		{"endless 1xx", "a:443", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 20),
			"proxy PROXY sent a malformed answer: interim replies without end", "it is not a proxy, or a broken one: see what came with culvert probe"},
		{"ssh", "a:443", "SSH-2.0-OpenSSH_9.2p1\r\n",
			`proxy PROXY is not an HTTP proxy: it begins with "SSH-2.0-OpenSSH_9.2p1\r\n"`, "an ssh server listens there: check the proxy's host and port"},
		{"TLS alert", "a:443", "\x15\x03\x01\x00\x02\x02\x46",
			`proxy PROXY is not an HTTP proxy: it begins with "\x15\x03\x01\x00\x02\x02F"`, "that port wants TLS: use https:// if it is a proxy's; check the proxy's host and port"},
		{"socks", "a:443", "\x05\xff",
			`proxy PROXY is not an HTTP proxy: it begins with "\x05\xff"`, "that looks like a socks proxy: use socks5h://, or: check the proxy's host and port"},
		{"something else", "a:443", "hello\r\n",
			`proxy PROXY is not an HTTP proxy: it begins with "hello\r\n"`, "check the proxy's host and port"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := tunneltest.StartProxy(t, tunneltest.Answer(tt.reply)...)
			_, err := clienttest.Proxied(t, p.Addr()).Open(t.Context(), testkit.MustAuthority(t, tt.target))
			clienttest.WantExplained(t, err, strings.ReplaceAll(tt.sentence, "PROXY", p.Addr()), tt.hint)
		})
	}
}

// A challenge that cannot be answered is the proxy's fault, not the user's.
func TestExplainBrokenChallenge(t *testing.T) {
	const broken = "the proxy's challenge is broken, or of a kind that culvert does not know: tell its administrator"
	for _, tt := range []struct{ challenge, says, hint string }{
		{`Digest realm="x"`, "wants credentials for a:22: 407 No; it offers Digest; no answer to Digest: the challenge has no nonce", broken},
		{`Digest realm="x", nonce="\x1b[", algorithm=ROT13`, `wants credentials for a:22: 407 No; it offers Digest; no answer to Digest: digest: unsupported algorithm: "ROT13"`, broken},
		{`Hawk`, "wants credentials for a:22: 407 No; it offers Hawk", "culvert knows Basic, Bearer, Digest, Negotiate and NTLM: ask the proxy's administrator to offer one of them"},
		{"Digest realm=\"x\"\r\nProxy-Authenticate: Basic realm=x", "refused the credentials for a:22: 407 No; it offers Digest, Basic", "check user name and password"},
		{"NTLM", "wants credentials for a:22: 407 No; it offers NTLM; it did not answer NTLM's first message",
			"NTLM does not work there: tell the proxy's administrator"},
		{"NTLM aGVsbG8=", "wants credentials for a:22: 407 No; it offers NTLM; no answer to NTLM: the challenge is not an NTLM message", broken},
		{"NTLM\r\nProxy-Authenticate: Basic realm=x", "refused the credentials for a:22: 407 No; it offers NTLM, Basic; it did not answer NTLM's first message",
			`check user name and password; NTLM does not work there: tell the proxy's administrator`},
	} {
		p := tunneltest.StartProxy(t, tunneltest.Answer("HTTP/1.1 407 No\r\nProxy-Authenticate: "+tt.challenge+"\r\nContent-Length: 0\r\n\r\n")...)
		_, err := clienttest.Proxied(t, "http://me:pw@"+p.Addr()).Open(t.Context(), testkit.MustAuthority(t, "a:22"))
		clienttest.WantExplained(t, err, "proxy "+p.Addr()+" "+tt.says, tt.hint)
	}
}

func TestExplainRefusedCredentials(t *testing.T) {
	p := tunneltest.StartProxy(t, tunneltest.Answer("HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=x\r\n\r\nsecret password")...)
	c := clienttest.Proxied(t, "http://me:secret%20password@"+p.Addr())
	c.Route.Source = "HTTPS_PROXY"
	_, err := c.Open(t.Context(), testkit.MustAuthority(t, "a:22"))
	// a proxy that sends the password back does not get it onto the terminal
	clienttest.WantExplained(t, err, "proxy "+p.Addr()+" refused the credentials for a:22: 407 No (***); it offers Basic", "check user name and password in HTTPS_PROXY")
	c.Route.Hops[0].Credentials.Source = "FILE"
	_, err = c.Open(t.Context(), testkit.MustAuthority(t, "a:22"))
	clienttest.WantExplained(t, err, "proxy "+p.Addr()+" refused the credentials for a:22: 407 No (***); it offers Basic", "check user name and password in FILE")
	c.Header = []client.Field{clienttest.Field("Proxy-Authorization", "Bearer token")}
	_, err = c.Open(t.Context(), testkit.MustAuthority(t, "a:22"))
	clienttest.WantExplained(t, err, "proxy "+p.Addr()+" refused the credentials for a:22: 407 No (***); it offers Basic", "check user name and password in the Proxy-Authorization header")
}

// Failures to reach the proxy, or a target without a proxy.
func TestExplainWay(t *testing.T) {
	unknown := testkit.FailingResolver{Err: &net.DNSError{Err: "no such host", IsNotFound: true}}
	silent := testkit.FailingResolver{Err: &net.DNSError{Err: "timeout", IsTimeout: true}}
	broken := testkit.FailingResolver{Err: &net.DNSError{Err: "server misbehaving", IsTemporary: true}}
	unused := tunneltest.Unused(t)
	port := unused[strings.LastIndexByte(unused, ':')+1:]
	for _, tt := range []struct {
		name, proxy, source, target string
		edit                        func(*client.Client)
		exit                        int
		sentence, hint              string
	}{
		{"proxy's name unknown", "proxy.corp:3128", "HTTPS_PROXY", "a:22", func(c *client.Client) { c.Resolver = unknown }, 3,
			"proxy proxy.corp:3128 cannot be resolved: the name does not exist", "check the proxy's name in HTTPS_PROXY; some are known only inside their network or VPN"},
		{"proxy's name, server broken", "proxy.corp:3128", "", "a:22", func(c *client.Client) { c.Resolver = broken }, 3,
			"proxy proxy.corp:3128 cannot be resolved: the name server could not answer", "check the proxy's name; some are known only inside their network or VPN"},
		{"proxy's name, server silent", "proxy.corp:3128", "", "a:22", func(c *client.Client) { c.Resolver = silent }, 9,
			"proxy proxy.corp:3128 cannot be resolved: the name server did not answer in time", "check the network, or give the proxy's address instead of its name"},
		{"proxy refused the connection", unused, "ALL_PROXY", "a:22", nil, 3,
			"proxy " + unused + " refused the connection", "nothing listens there: check the proxy's port in ALL_PROXY, or whether the proxy runs"},
		{"proxy of the other family", unused, "", "a:22", func(c *client.Client) { c.Network = "tcp6" }, 3,
			"proxy " + unused + " cannot be reached: the address is of the other IP version", "leave -4 and -6 out, or give a name"},
		{"target of the other family", "direct", "", "[2001:db8::1]:22", func(c *client.Client) { c.Network = "tcp4" }, 7,
			"[2001:db8::1]:22 cannot be reached: the address is of the other IP version", "leave -4 and -6 out, or give a name"},
		{"no socket", "unix:/nonexistent/\x1b", "-x", "a:22", nil, 3,
			`proxy unix:/nonexistent/\x1b cannot be reached: no such file or directory`, "check the socket's path in -x, its permissions, and whether the proxy runs"},
		{"target's name unknown", "direct", "", "a:22", func(c *client.Client) { c.Resolver = unknown }, 7,
			"a:22 cannot be resolved: the name does not exist", "check the name; if only a proxy can resolve it, name that with --proxy"},
		{"target's name, server silent", "direct", "", "a:22", func(c *client.Client) { c.Resolver = silent }, 9,
			"a:22 cannot be resolved: the name server did not answer in time", "check the network; if it wants a proxy, name that with --proxy"},
		{"target refused the connection", "direct", "", unused, nil, 7,
			unused + " refused the connection", "nothing listens on port " + port + " there: check the port, or whether the server runs"},
		{"header that cannot be sent", unused, "", "a:22", func(c *client.Client) { c.Header = []client.Field{clienttest.Field("X", "\n")} }, 2,
			"the request cannot be sent: header X: the value holds a control character", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := clienttest.Proxied(t, tt.proxy)
			if c.Route.Source = tt.source; tt.edit != nil {
				tt.edit(c)
			}
			_, err := c.Open(t.Context(), testkit.MustAuthority(t, tt.target))
			if got := tunnel.ExitCode(err); got != tt.exit {
				t.Errorf("exit code %d, want %d: %v", got, tt.exit, err)
			}
			clienttest.WantExplained(t, err, tt.sentence, tt.hint)
		})
	}
}

// Failures that a test cannot provoke.
func TestExplainError(t *testing.T) {
	target := testkit.MustAuthority(t, "example.com:22")
	const hop = "proxy.corp:3128"
	for _, tt := range []struct {
		name           string
		err            error
		sentence, hint string
	}{
		{"proxy does not accept", &tunnel.Error{Phase: tunnel.PhaseConnect, Type: tunnel.ErrorConnectionTimeout, Target: target, Hop: hop, Source: "HTTPS_PROXY"},
			"proxy proxy.corp:3128 did not accept the connection in time", "a firewall may stand between: check the proxy's address in HTTPS_PROXY, or wait longer with --connect-timeout"},
		{"no route to the proxy", &tunnel.Error{Phase: tunnel.PhaseConnect, Type: tunnel.ErrorDestinationUnroutable, Target: target, Hop: hop, Err: syscall.EHOSTUNREACH},
			"proxy proxy.corp:3128 cannot be reached: " + syscall.EHOSTUNREACH.Error(), "check the proxy's address and the network"},
		{"proxy silent", &tunnel.Error{Phase: tunnel.PhaseReply, Type: tunnel.ErrorConnectionReadTimeout, Target: target, Hop: hop},
			"proxy proxy.corp:3128 did not answer in time", "it may wait for example.com:22 in vain, be overloaded, or be no proxy: check the proxy's host and port, or wait longer with --timeout"},
		{"SOCKS proxy silent", &tunnel.Error{Phase: tunnel.PhaseReply, Type: tunnel.ErrorConnectionReadTimeout, Target: target, Hop: hop, Scheme: tunnel.SchemeSOCKS5H},
			"proxy proxy.corp:3128 did not answer in time", "it may be no SOCKS proxy (for HTTP, use http://), or wait for example.com:22 in vain: check the proxy's host and port, or wait longer with --timeout"},
		{"SOCKS proxy hangs up", &tunnel.Error{Phase: tunnel.PhaseReply, Type: tunnel.ErrorConnectionTerminated, Target: target, Hop: hop, Scheme: tunnel.SchemeSOCKS5},
			"proxy proxy.corp:3128 closed the connection without an answer", "it may serve certain clients only, or be no SOCKS proxy: check the proxy's host and port"},
		{"HTTPS proxy hangs up", &tunnel.Error{Phase: tunnel.PhaseReply, Type: tunnel.ErrorConnectionTerminated, Target: target, Hop: hop, Scheme: tunnel.SchemeHTTPS},
			"proxy proxy.corp:3128 closed the connection without an answer", "it may serve certain clients only, or be a relay whose proxy is down, or no HTTP proxy: check the proxy's host and port"},
		{"HTTP/2 proxy hangs up", &tunnel.Error{Phase: tunnel.PhaseReply, Type: tunnel.ErrorConnectionTerminated, Target: target, Hop: hop, Scheme: tunnel.SchemeH2C},
			"proxy proxy.corp:3128 closed the connection without an answer", "it may not speak HTTP/2 in clear, for which use http:// or https://, or serve certain clients only: check the proxy's host and port"},
		{"proxy does not read", &tunnel.Error{Phase: tunnel.PhaseRequest, Type: tunnel.ErrorConnectionReadTimeout, Target: target, Hop: hop},
			"proxy proxy.corp:3128 did not answer in time", "it is overloaded or not a proxy: check the proxy's host and port, or wait longer with --timeout"},
		{"target does not accept", &tunnel.Error{Phase: tunnel.PhaseConnect, Type: tunnel.ErrorConnectionTimeout, Target: target},
			"example.com:22 did not accept the connection in time", "a firewall may stand between: if this network wants a proxy, name it with --proxy"},
		{"no route to the target", &tunnel.Error{Phase: tunnel.PhaseConnect, Type: tunnel.ErrorDestinationUnroutable, Target: target, Err: syscall.ENETUNREACH},
			"example.com:22 cannot be reached: " + syscall.ENETUNREACH.Error(), "check the network; if it wants a proxy, name that with --proxy"},
		{"reset of a proxied tunnel", &tunnel.Error{Phase: tunnel.PhaseRelay, Type: tunnel.ErrorConnectionTerminated, Target: target, Hop: hop, Err: syscall.ECONNRESET},
			"the tunnel to example.com:22 through proxy proxy.corp:3128 broke: " + syscall.ECONNRESET.Error(),
			"the target, or something on the way with an idle limit, cut it: for ssh, try ServerAliveInterval 30"},
		{"reset of a direct tunnel", &tunnel.Error{Phase: tunnel.PhaseRelay, Type: tunnel.ErrorConnectionTerminated, Target: target, Err: syscall.ECONNRESET},
			"the tunnel to example.com:22 broke: " + syscall.ECONNRESET.Error(),
			"the target, or something on the way with an idle limit, cut it: for ssh, try ServerAliveInterval 30"},
		{"cancelled", &tunnel.Error{Phase: tunnel.PhaseReply, Type: tunnel.ErrorConnectionTerminated, Target: target, Hop: hop, Err: context.Canceled},
			"cancelled on the way to proxy proxy.corp:3128", ""},
		{"wrapped", fmt.Errorf("opening: %w", &tunnel.Error{Phase: tunnel.PhaseConnect, Type: tunnel.ErrorConnectionRefused, Target: target}),
			"example.com:22 refused the connection", "nothing listens on port 22 there: check the port, or whether the server runs"},
		{"any other", errors.New("out of\nluck"), `out of\nluck`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) { clienttest.WantExplained(t, tt.err, tt.sentence, tt.hint) })
	}
}
