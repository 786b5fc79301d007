package client_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/internal/clienttest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"
)

func TestReplyOpensTunnel(t *testing.T) {
	// In all cases the target speaks first. None of its bytes may be lost, and none of
	// the head may appear in the tunnel.
	const hello = "SSH-2.0-hello\r\n"
	for _, tt := range []struct {
		name   string
		script []tunneltest.Step
	}{
		{"plain", replies("HTTP/1.1 200 OK\r\n\r\n", hello)},
		{"glued to the blank line", replies("HTTP/1.1 200 OK\r\n\r\n" + hello)},
		{"one byte at a time", []tunneltest.Step{tunneltest.SendBytewise("HTTP/1.1 200 Connection established\r\nVia: 1.1 p\r\n\r\n" + hello)}},
		{"any 2xx", replies("HTTP/1.1 299 Whatever\r\n\r\n", hello)},
		{"204", replies("HTTP/1.1 204 No Content\r\n\r\n", hello)},
		{"Content-Length is ignored", replies("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", hello)},
		{"Transfer-Encoding is ignored", replies("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", hello)},
		{"Content-Length and Transfer-Encoding are ignored", replies("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", hello)},
		{"Connection: close is ignored", replies("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", hello)},
		{"HTTP/1.0", replies("HTTP/1.0 200 Connection established\r\nProxy-agent: x\r\n\r\n", hello)},
		{"no reason phrase", replies("HTTP/1.1 200\r\n\r\n", hello)},
		{"bare LF", replies("HTTP/1.1 200 OK\nVia: x\n\n", hello)},
		{"folded line", replies("HTTP/1.1 200 OK\r\nX-A: b\r\n  c\r\n\r\n", hello)},
		{"hundreds of field lines", replies("HTTP/1.1 200 OK\r\n"+strings.Repeat("X-Field: value\r\n", 800)+"\r\n", hello)},
		{"line of 16 KiB", replies("HTTP/1.1 200 OK\r\nX-Long: "+strings.Repeat("a", 16<<10)+"\r\n\r\n", hello)},
		{"line of 16 KiB, glued", replies("HTTP/1.1 200 OK\r\nX-Long: " + strings.Repeat("a", 16<<10) + "\r\n\r\n" + hello)},
		{"100 first", replies("HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", hello)},
		{"103 and 102 first, glued", replies("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\n\r\n" + hello)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			script := append([]tunneltest.Step{tunneltest.ReadHead}, tt.script...)
			p := tunneltest.StartProxy(t, append(script, tunneltest.Serve(tunneltest.Echo))...)
			conn, e := clienttest.TryOpen(t, clienttest.Proxied(t, p.Addr()))
			if e != nil {
				t.Fatal(e)
			}
			testkit.Expect(t, conn, hello)
			fmt.Fprint(conn, "back")
			testkit.Expect(t, conn, "back")
		})
	}
}

// replies returns the steps of a script that sends each text in one write.
func replies(texts ...string) (steps []tunneltest.Step) {
	for _, text := range texts {
		steps = append(steps, tunneltest.Send(text))
	}
	return steps
}

func TestReplyOpensNoTunnel(t *testing.T) {
	finish := tunneltest.Step(tunneltest.Finish)
	for _, tt := range []struct {
		name   string
		script []tunneltest.Step // after ReadHead
		exit   int
		typ    tunnel.ErrorType
		status int
		detail string
	}{
		{"closes without an answer", []tunneltest.Step{finish}, 8, tunnel.ErrorConnectionTerminated, 0, ""},
		{"resets without an answer", []tunneltest.Step{tunneltest.Cut}, 8, tunnel.ErrorConnectionTerminated, 0, ""},
		{"no blank line before end of file", append(replies("HTTP/1.1 200 OK\r\nVia: x\r\n"), finish), 8, tunnel.ErrorResponseIncomplete, 0, ""},
		{"half a status line", append(replies("HTTP/1.1 2"), finish), 8, tunnel.ErrorResponseIncomplete, 0, ""},
		{"NUL in a field", replies("HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n"), 8, tunnel.ErrorProtocol, 0, "NUL"},
		{"NUL in the reason", replies("HTTP/1.1 200 O\x00K\r\n\r\n"), 8, tunnel.ErrorProtocol, 0, "NUL"},
		{"status of four digits", replies("HTTP/1.1 2000 OK\r\n\r\n"), 8, tunnel.ErrorProtocol, 0, "status"},
		{"status below 100", replies("HTTP/1.1 020 OK\r\n\r\n"), 8, tunnel.ErrorProtocol, 0, "status"},
		{"status of 999 is no tunnel", append(replies("HTTP/1.1 999 No\r\n\r\n"), finish), 8, tunnel.ErrorRequest, 999, ""},
		{"HTTP/2 in the status line", replies("HTTP/2 200\r\n\r\n"), 8, tunnel.ErrorProtocol, 0, "version"},
		{"an ssh banner", replies("SSH-2.0-OpenSSH_9.2\r\n"), 8, tunnel.ErrorProtocol, 0, `"SSH-2.0-OpenSSH_9.2`},
		{"a TLS alert", replies("\x15\x03\x01\x00\x02\x02\x46"), 8, tunnel.ErrorProtocol, 0, `"\x15\x03\x01\x00`},
		{"a page without a head", replies("<html><body>hi"), 8, tunnel.ErrorProtocol, 0, "<html>"},
		{"escape sequences", replies("\x1b]0;owned\x07\r\n"), 8, tunnel.ErrorProtocol, 0, `\x1b]0;owned\x07`},
		{"head without end", []tunneltest.Step{tunneltest.Send("HTTP/1.1 200 OK\r\n"), tunneltest.Repeat("X-Endless: and so on\r\n")}, 8, tunnel.ErrorResponseHeadSize, 0, ""},
		{"line without end", []tunneltest.Step{tunneltest.Send("HTTP/1.1 200 OK\r\nX: "), tunneltest.Repeat(strings.Repeat("a", 1000))}, 8, tunnel.ErrorResponseHeadSize, 0, ""},
		{"interim replies without end", []tunneltest.Step{tunneltest.Repeat("HTTP/1.1 100 Continue\r\n\r\n")}, 8, tunnel.ErrorProtocol, 0, "without end"},
		{"101 is no tunnel", append(replies("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"), tunneltest.Hold), 8, tunnel.ErrorRequest, 101, ""},
		{"redirect", append(replies("HTTP/1.1 302 Found\r\nLocation: http://portal.example/\r\nContent-Length: 0\r\n\r\n"), finish), 6, tunnel.ErrorDenied, 302, "to http://portal.example/"},
		{"304 has no content", append(replies("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"), tunneltest.Hold), 6, tunnel.ErrorDenied, 304, ""},
		{"407", append(replies("HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n"), tunneltest.Hold), 5, tunnel.ErrorCredentials, 407, ""},
		{"407 with a Proxy-Status that says otherwise", append(replies("HTTP/1.1 407 No\r\nProxy-Status: p; error=dns_error\r\n\r\n"), finish), 5, tunnel.ErrorCredentials, 407, "dns error"},
		{"text is shown", append(replies("HTTP/1.1 403 Forbidden\r\nContent-Length: 14\r\n\r\nnot\tfor\x1b[31m u"), finish), 6, tunnel.ErrorDenied, 403, `not for\x1b[31m u`},
		{"text of a page is shown", append(replies("HTTP/1.0 403 Forbidden\r\nContent-Type: text/html\r\n\r\n<html><head><title>403</title></head><body><p>not &lt;here&gt;</p>"), finish), 6, tunnel.ErrorDenied, 403, "not <here>"},
		{"chunked text is shown", append(replies("HTTP/1.1 502 Bad Gateway\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nall\r\n5\r\n gone\r\n0\r\n\r\n"), tunneltest.Hold), 7, tunnel.ErrorDestinationUnavailable, 502, "all gone"},
		{"compressed text that breaks off is named", append(replies("HTTP/1.1 403 Forbidden\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08"), finish), 6, tunnel.ErrorDenied, 403, "its page is encoded as gzip"},
		{"length and coding: the content is not read", append(replies("HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), tunneltest.Hold), 6, tunnel.ErrorDenied, 403, ""},
		{"Proxy-Status overrules the code", append(replies("HTTP/1.1 503 Service Unavailable\r\nProxy-Status: p; error=http_request_denied; details=\"not at night\"\r\n\r\n"), finish), 6, tunnel.ErrorDenied, 503, "not at night"},
		{"content without end", []tunneltest.Step{tunneltest.Send("HTTP/1.1 403 Forbidden\r\n\r\n"), tunneltest.Repeat(strings.Repeat("no ", 1000))}, 6, tunnel.ErrorDenied, 403, "no no no"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := tunneltest.StartProxy(t, append([]tunneltest.Step{tunneltest.ReadHead}, tt.script...)...)
			_, e := clienttest.TryOpen(t, clienttest.Proxied(t, p.Addr()))
			if e == nil {
				t.Fatal("the tunnel is open")
			}
			if e.ExitCode() != tt.exit || e.Type != tt.typ || e.Status != tt.status || e.Phase != tunnel.PhaseReply {
				t.Errorf("exit %d, %v, status %d in phase %s; want exit %d, %v, status %d", e.ExitCode(), e.Type, e.Status, e.Phase, tt.exit, tt.typ, tt.status)
			}
			if !strings.Contains(e.Detail, tt.detail) || tt.detail == "" && tt.status != 0 && e.Detail != "" {
				t.Errorf("detail %q, want %q in it", e.Detail, tt.detail)
			}
			if e.Hop != p.Addr() || e.Target != testkit.MustAuthority(t, "example.com:22") {
				t.Errorf("hop %q, target %v", e.Hop, e.Target)
			}
			if len(e.Detail) > client.MaxDetail+len("...") || strings.ContainsFunc(e.Error(), func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("error is not fit to print: %q", e.Error())
			}
			if n := len(p.Heads()); n != 1 {
				t.Errorf("%d requests were sent, want 1", n)
			}
		})
	}
}

// A very long refusal is not read to its end.
func TestRefusalTakesBoundedMemory(t *testing.T) {
	p := tunneltest.StartProxy(t, tunneltest.ReadHead,
		tunneltest.Send("HTTP/1.1 403 Forbidden\r\nContent-Length: 1000000000\r\n\r\n"), tunneltest.Repeat(strings.Repeat("x", 64<<10)))
	c := clienttest.Proxied(t, p.Addr())
	var body int
	c.Trace = &client.Trace{Exchanged: func(x *client.Exchange) { body = len(x.Body) }}
	if _, e := clienttest.TryOpen(t, c); e == nil || e.Status != 403 {
		t.Fatalf("got %v, want 403", e)
	}
	if body != client.MaxExcerpt {
		t.Errorf("%d bytes of content were read, want %d", body, client.MaxExcerpt)
	}
}

func TestCancelInterruptsOpening(t *testing.T) {
	for _, reply := range []string{"", "HTTP/1.1 200 OK\r\n"} {
		t.Run(fmt.Sprintf("after %q", reply), func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			p := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Send(reply), func(*tunneltest.Turn) bool {
				cancel()
				return true
			}, tunneltest.Hold)
			c := clienttest.Proxied(t, p.Addr())
			c.Timeout = -1
			if _, err := c.Open(ctx, testkit.MustAuthority(t, "example.com:22")); !errors.Is(err, context.Canceled) {
				t.Errorf("%v is not context.Canceled", err)
			}
		})
	}
}

// The context and the timeouts cover the opening only.
func TestOpenTunnelOutlivesContext(t *testing.T) {
	p := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Send("HTTP/1.1 200 OK\r\n\r\n"), tunneltest.Serve(tunneltest.Echo))
	ctx, cancel := context.WithCancel(t.Context())
	conn, err := clienttest.Proxied(t, p.Addr()).Open(ctx, testkit.MustAuthority(t, "example.com:22"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cancel()
	fmt.Fprint(conn, "still")
	testkit.Expect(t, conn, "still")
}
