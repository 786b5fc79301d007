package probe

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/internal/clienttest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/terminal"
	"culvert/tunnel/tunneltest"
)

func TestVerdict(t *testing.T) {
	const status = "Content-Length: 0\r\nProxy-Status: p; error="
	for _, tt := range []struct {
		name   string
		script []tunneltest.Step
		kind   VerdictKind
		exit   int
		words  string
	}{
		{"ssh server", testkit.HangUp(reply200 + "\r\nSSH-2.0-hello\r\n"), VerdictOpen, 0, "open"},
		{"closed at once", testkit.HangUp(reply200 + "\r\n"), VerdictOpen, 0, "open (and closed by the other side without a byte)"},
		{"page", testkit.HangUp(reply200 + "\r\n" + htmlPage), VerdictNotAProxy, 8, "not a proxy (2xx, but an HTML page instead of a tunnel)"},
		{"403", testkit.HangUp(reply403 + "\r\n"), VerdictDenied, 6, "denied by policy (403 Forbidden)"},
		{"403 with the proxy's words", testkit.HangUp("HTTP/1.1 403 No\r\nContent-Length: 8\r\n\r\nnot here"), VerdictDenied, 6, "denied by policy (403 No: not here)"},
		{"429", testkit.HangUp("HTTP/1.1 429 Too Many Requests\r\n\r\n"), VerdictDenied, 6, "denied by policy (429 Too Many Requests)"},
		{"407", testkit.HangUp(reply407 + "Proxy-Authenticate: Negotiate, Basic realm=\"a\"\r\n\r\n"), VerdictCredentials, 5, "credentials wanted (Negotiate, Basic)"},
		{"407 without a challenge", testkit.HangUp(reply407 + "\r\n"), VerdictCredentials, 5, "credentials wanted (no scheme offered)"},
		{"401", testkit.HangUp("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\n\r\n"), VerdictCredentials, 5, "credentials wanted (Basic)"},
		{"502", testkit.HangUp("HTTP/1.1 502 Bad Gateway\r\n\r\n"), VerdictTargetUnreachable, 7, "target unreachable (502 Bad Gateway)"},
		{"Proxy-Status overrides", testkit.HangUp("HTTP/1.1 500 Oops\r\n" + status + "connection_refused\r\n\r\n"), VerdictTargetUnreachable, 7, "target unreachable (500 Oops: connection refused)"},
		{"302", testkit.HangUp("HTTP/1.1 302 Found\r\nLocation: http://login.example/\x1b\r\n\r\n"), VerdictCaptivePortal, 6, `captive portal? (302 to http://login.example/\x1b)`},
		{"511", testkit.HangUp("HTTP/1.1 511 Log In\r\nContent-Length: 0\r\n\r\n"), VerdictCaptivePortal, 6, "captive portal? (511 Log In)"},
		{"301 to nowhere", testkit.HangUp("HTTP/1.1 301 Moved\r\nContent-Length: 0\r\n\r\n"), VerdictDenied, 6, "denied by policy (301 Moved)"},
		{"304", testkit.HangUp("HTTP/1.1 304 Not Modified\r\nLocation: /\r\n\r\n"), VerdictDenied, 6, "denied by policy (304 Not Modified)"},
		{"402", testkit.HangUp("HTTP/1.1 402 Payment Required\r\n\r\n"), VerdictRejected, 8, "request rejected (402 Payment Required)"},
		{"405", testkit.HangUp("HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n"), VerdictNotAProxy, 8, "not a proxy (405 Method Not Allowed)"},
		{"400 of a web server", testkit.HangUp("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), VerdictNotAProxy, 8, "not a proxy (400 Bad Request)"},
		{"400 of a proxy", testkit.HangUp("HTTP/1.1 400 Bad Request\r\nVia: 1.1 p\r\nContent-Length: 0\r\n\r\n"), VerdictRejected, 8, "request rejected (400 Bad Request)"},
		{"500", testkit.HangUp("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"), VerdictRejected, 8, "request rejected (500 Oops)"},
		{"TLS port of culvert serve", testkit.HangUp("HTTP/1.1 400 Bad Request\r\nContent-Length: 41\r\n\r\nplain HTTP came to a port that speaks TLS"), VerdictWrongPort, 8, "wrong port (TLS wanted: 400 Bad Request: plain HTTP came to a port that speaks TLS)"},
		{"TLS port of a web server", testkit.HangUp("HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"), VerdictWrongPort, 8, "wrong port (TLS wanted: 400 Bad Request: Client sent an HTTP request to an HTTPS server)"},
		{"TLS alert", testkit.HangUp("\x15\x03\x03\x00\x02\x02\x46"), VerdictWrongPort, 8, "wrong port (TLS spoken there)"},
		{"ssh banner", testkit.HangUp("SSH-2.0-hello\r\n"), VerdictNotAProxy, 8, `not a proxy (it answered "SSH-2.0-hello\r\n")`},
		{"garbage", testkit.HangUp("\x1b]0;owned\x07"), VerdictNotAProxy, 8, `not a proxy (it answered "\x1b]0;owned\x07")`},
		{"behind an empty line", testkit.HangUp("\r\n" + reply200 + "\r\n"), VerdictMalformed, 8, "malformed (an empty line stands before the status line)"},
		{"behind a byte order mark", testkit.HangUp("\ufeff" + reply200 + "\r\n"), VerdictMalformed, 8, "malformed (a byte order mark stands before the status line)"},
		{"in lower case", testkit.HangUp("http/1.1 200 ok\r\n\r\n"), VerdictMalformed, 8, "malformed (HTTP stands in other letters than capitals in the status line)"},
		{"NUL", testkit.HangUp("HTTP/1.1 200 \x00\r\n\r\n"), VerdictMalformed, 8, "malformed (the head holds a NUL)"},
		{"cut off", testkit.HangUp("HTTP/1.1 200 OK\r\nVia"), VerdictMalformed, 8, "malformed (the answer was cut short)"},
		{"hung up", testkit.HangUp(""), VerdictHungUp, 8, "hung up (the connection was closed without an answer)"},
		{"101", testkit.HangUp("HTTP/1.1 101 Switching Protocols\r\n\r\n"), VerdictRejected, 8, "request rejected (101 Switching Protocols)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := probeScript(t, testkit.LongWait, tt.script...).Verdict
			if v.Kind != tt.kind || v.ExitCode != tt.exit || v.Words != tt.words {
				t.Errorf("%s %d %q, want %s %d %q", v.Kind, v.ExitCode, v.Words, tt.kind, tt.exit, tt.words)
			}
			if v.Kind != VerdictOpen && v.Hint == "" {
				t.Error("no hint")
			}
			if strings.Contains(v.Hint, "culvert probe") {
				t.Errorf("the hint is to do what was done: %s", v.Hint)
			}
		})
	}
}

func TestVerdictOnOpenTunnel(t *testing.T) {
	t.Run("still open", func(t *testing.T) {
		r := probeScript(t, testkit.BriefWait, holdOn(reply200+"\r\n")...)
		if v := r.Verdict; v.Kind != VerdictOpen || v.ExitCode != 0 || r.Tunnel.End != string(endOpen) {
			t.Errorf("%+v, %+v", v, r.Tunnel)
		}
	})
	t.Run("not listened to", func(t *testing.T) {
		r := probeScript(t, -1, holdOn(reply200+"\r\n")...)
		if v := r.Verdict; v.Kind != VerdictOpen || r.Tunnel.End != string(endNotWatched) {
			t.Errorf("%+v, %+v", v, r.Tunnel)
		}
	})
	t.Run("page that came along is seen without listening", func(t *testing.T) {
		r := probeScript(t, -1, holdOn(reply200+"\r\n"+htmlPage)...)
		if v := r.Verdict; v.Kind != VerdictNotAProxy || v.ExitCode != 8 {
			t.Errorf("%+v", v)
		}
	})
	t.Run("reset", func(t *testing.T) {
		hello := make(chan struct{})
		proxy := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Send(reply200+"\r\n"), tunneltest.Wait(hello), tunneltest.Cut)
		p := &Prober{Client: clienttest.Proxied(t, proxy.Addr()), Wait: testkit.LongWait}
		p.Client.Trace = &client.Trace{Exchanged: func(*client.Exchange) { close(hello) }}
		if v := probeAt(t, p).Verdict; v.Kind != VerdictBroken || v.ExitCode != 10 {
			t.Errorf("%+v", v)
		}
	})
	t.Run("more than is read", func(t *testing.T) {
		r := probeScript(t, testkit.LongWait, tunneltest.ReadHead, tunneltest.Send(reply200+"\r\n"), tunneltest.Repeat("x"))
		if r.Verdict.Kind != VerdictOpen || r.Tunnel.End != string(endFull) || len(r.Tunnel.Data) != maxTunnelBytes {
			t.Errorf("%+v, %s, %d bytes", r.Verdict, r.Tunnel.End, len(r.Tunnel.Data))
		}
		var text strings.Builder
		if r.WriteText(&text, terminal.Style{}); !strings.Contains(text.String(), "* 4096 bytes came out of the tunnel") || !strings.Contains(text.String(), "; probe reads no more\n") {
			t.Errorf("%s", text.String()[max(0, text.Len()-2000):])
		}
	})
}

func TestProbeUnreachable(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		r := probeAt(t, &Prober{Client: clienttest.Proxied(t, tunneltest.Unused(t))})
		if v := r.Verdict; v.Kind != VerdictProxyUnreachable || v.ExitCode != 3 || v.Words != "proxy unreachable (connect: connection refused)" {
			t.Errorf("%+v", v)
		}
		if len(r.Attempts) != 1 || r.Attempts[0].Connected || r.Attempts[0].Error == "" {
			t.Errorf("attempts %+v", r.Attempts)
		}
	})
	t.Run("no such name", func(t *testing.T) {
		c := clienttest.Proxied(t, "proxy.invalid:3128")
		c.Resolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
		}}
		r := probeAt(t, &Prober{Client: c})
		if v := r.Verdict; v.Kind != VerdictProxyUnreachable || v.Phase != tunnel.PhaseResolve {
			t.Errorf("%+v", v)
		}
		if r.Lookup == nil || r.Lookup.Host != "proxy.invalid" || r.Lookup.Error == "" || len(r.Timeline) != 1 || r.Timeline[0].Finished {
			t.Errorf("lookup %+v, timeline %+v", r.Lookup, r.Timeline)
		}
	})
	t.Run("no socket", func(t *testing.T) {
		c := clienttest.Proxied(t, "unix:"+filepath.Join(t.TempDir(), "none\x1b"))
		v := probeAt(t, &Prober{Client: c}).Verdict
		if v.Kind != VerdictProxyUnreachable || v.ExitCode != 3 || strings.Contains(v.Words+v.Hint+v.Sentence, "\x1b") {
			t.Errorf("%+v", v)
		}
	})
}

// Whatever a proxy does, there is a verdict in time, and what is kept is bounded.
func TestHostileProxies(t *testing.T) {
	read := tunneltest.ReadHead
	for _, tt := range []struct {
		name   string
		script []tunneltest.Step
		kind   VerdictKind
		exit   int
	}{
		{"silent", []tunneltest.Step{read, tunneltest.Hold}, VerdictSilent, 9},
		{"head that stops", []tunneltest.Step{read, tunneltest.Send("HTTP/1.1 200 OK\r\nVia: x"), tunneltest.Hold}, VerdictMalformed, 9},
		{"head without end", []tunneltest.Step{read, tunneltest.Send("HTTP/1.1 200 OK\r\n"), tunneltest.Repeat("X-Field: \x1b[2Jvalue\r\n")}, VerdictMalformed, 8},
		{"line without end", []tunneltest.Step{read, tunneltest.Send("HTTP/1.1 200 OK\r\nX: "), tunneltest.Repeat("abcdefgh")}, VerdictMalformed, 8},
		{"interim replies without end", []tunneltest.Step{read, tunneltest.Repeat("HTTP/1.1 102 Processing\r\n\r\n")}, VerdictMalformed, 8},
		{"content without end", []tunneltest.Step{read, tunneltest.Send("HTTP/1.1 403 No\r\nContent-Length: 1073741824\r\n\r\n"), tunneltest.Repeat("\x1b[31mno ")}, VerdictDenied, 6},
		{"chunks without end", []tunneltest.Step{read, tunneltest.Send("HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n"), tunneltest.Repeat("1\r\nx\r\n")}, VerdictDenied, 6},
		{"content that never comes", []tunneltest.Step{read, tunneltest.Send("HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\n"), tunneltest.Hold}, VerdictDenied, 6},
		{"garbage without end", []tunneltest.Step{tunneltest.Repeat("\x00\x1b]0;x\x07")}, VerdictNotAProxy, 8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			testkit.WithLimits(func(limit time.Duration, last bool) bool {
				proxy := tunneltest.StartProxy(t, tt.script...)
				p := &Prober{Client: clienttest.Proxied(t, proxy.Addr()), Wait: testkit.BriefWait}
				p.Client.Timeout = limit
				if strings.HasSuffix(tt.name, "without end") {
					p.Client.Timeout, last = testkit.Patience, true // the bound is in bytes
				}
				start := time.Now()
				r := probeAt(t, p)
				if took := time.Since(start); took > testkit.Patience/2 {
					t.Errorf("took %v", took)
				}
				wantHarmless(t, r)
				ok := r.Verdict.Kind == tt.kind && r.Verdict.ExitCode == tt.exit
				if last && !ok {
					t.Errorf("%s %d %q, want %s %d", r.Verdict.Kind, r.Verdict.ExitCode, r.Verdict.Words, tt.kind, tt.exit)
				}
				return ok || last
			})
		})
	}
}

// wantHarmless checks that text and JSON contain nothing that a terminal acts on,
// and that the text takes about a screenful at most.
func wantHarmless(t *testing.T, r *Report) {
	t.Helper()
	var text, doc strings.Builder
	if err := r.WriteText(&text, terminal.Style{}); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteJSON(&doc); err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{text.String(), doc.String()} {
		for i := range len(out) {
			if c := out[i]; c != '\n' && (c < ' ' || c > '~') {
				t.Fatalf("byte %#x in %q", c, out[max(0, i-20):i+1])
			}
		}
		if len(out) > 1<<20 {
			t.Errorf("%d bytes", len(out))
		}
	}
	if lines := strings.Count(text.String(), "\n"); lines > 300 {
		t.Errorf("%d lines of text", lines)
	}
	var back Report
	if err := json.Unmarshal([]byte(doc.String()), &back); err != nil || back.Schema != Schema || back.Verdict != r.Verdict {
		t.Errorf("the JSON does not give the report back: %v, %+v", err, back.Verdict)
	}
}

func TestProbeOfNothing(t *testing.T) {
	if r, err := (&Prober{}).Probe(t.Context(), testkit.MustAuthority(t, "example.com:22")); !errors.Is(err, client.ErrNoProxy) || r != nil {
		t.Errorf("%v, %v", r, err)
	}
}

func TestProbeRefusesBadRequest(t *testing.T) {
	proxy := tunneltest.StartProxy(t, tunneltest.Honest()...)
	p := &Prober{Client: clienttest.Proxied(t, proxy.Addr())}
	p.Client.Header = []client.Field{clienttest.Field("Host", "other")}
	var e *tunnel.Error
	if r, err := p.Probe(t.Context(), testkit.MustAuthority(t, "example.com:22")); !errors.As(err, &e) || e.Phase != tunnel.PhaseRequest || r != nil {
		t.Errorf("%v, %v", r, err)
	}
	if heads := proxy.Heads(); len(heads) != 0 {
		t.Errorf("sent %q", heads)
	}
}

func TestProbeCancelled(t *testing.T) {
	for name, script := range map[string][]tunneltest.Step{
		"waiting for a reply":     {tunneltest.ReadHead, tunneltest.Hold},
		"listening":               holdOn(reply200 + "\r\n"),
		"waiting for a close":     holdOn(reply403 + "\r\n"),
		"reading what never ends": holdOn("HTTP/1.1 403 No\r\n\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			proxy := tunneltest.StartProxy(t, script...)
			ctx, cancel := context.WithCancel(t.Context())
			p := &Prober{Client: clienttest.Proxied(t, proxy.Addr()), Wait: testkit.LongWait}
			p.Client.Trace = &client.Trace{Connected: func(string, error) { time.AfterFunc(testkit.BriefWait, cancel) }}
			if r, err := p.Probe(ctx, testkit.MustAuthority(t, "example.com:22")); !errors.Is(err, context.Canceled) || r != nil {
				t.Errorf("%v, %v", r, err)
			}
		})
	}
}

func TestProbeSendsOnlyWhatIsAsked(t *testing.T) {
	opened := []tunneltest.Step{tunneltest.ReadHead, tunneltest.Send(reply200 + "\r\n")}
	target := make(chan string, 1)
	probeScript(t, testkit.BriefWait, append(opened, tunneltest.Serve(func(conn net.Conn) {
		b := make([]byte, 100)
		n, _ := conn.Read(b)
		target <- string(b[:n])
	}))...)
	if got := <-target; got != "" {
		t.Errorf("the target got %q unasked", got)
	}
	proxy := tunneltest.StartProxy(t, append(opened, tunneltest.Serve(func(conn net.Conn) {
		b := make([]byte, 5)
		n, _ := conn.Read(b)
		conn.Write([]byte("HTTP/1.1 200 OK\r\n\r\n<html>" + string(b[:n])))
	}))...)
	r := probeAt(t, &Prober{Client: clienttest.Proxied(t, proxy.Addr()), Wait: testkit.LongWait, Send: []byte("GET /")})
	if !strings.HasSuffix(string(r.Tunnel.Data), "<html>GET /") {
		t.Errorf("came back: %q", r.Tunnel.Data)
	}
	if r.Verdict.Kind != VerdictOpen {
		t.Errorf("a page that was asked for: %+v", r.Verdict)
	}
}

func TestProbeChain(t *testing.T) {
	second := tunneltest.StartProxy(t, testkit.HangUp(reply403+"Server: second\r\n\r\n")...)
	first := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Send(reply200+"Server: first\r\n\r\n"), relayTo(second.Addr()))
	r := probeAt(t, &Prober{Client: clienttest.Proxied(t, first.Addr(), second.Addr()), Wait: testkit.LongWait})
	if len(r.Exchanges) != 2 || r.Exchanges[0].Status != 200 || r.Exchanges[1].Status != 403 {
		t.Fatalf("%+v", r.Exchanges)
	}
	if got := r.Exchanges[0].AskedFor.String(); got != second.Addr() {
		t.Errorf("the first hop was asked for %s", got)
	}
	if len(r.Findings) != 2*len(checks) || r.Findings[1].Grade != Skip {
		t.Errorf("%d findings, the first hop's page %v", len(r.Findings), r.Findings[1])
	}
	if r.Verdict.Kind != VerdictDenied {
		t.Errorf("%+v", r.Verdict)
	}
}

// relayTo relays to a fixed address, whatever the target.
func relayTo(addr string) tunneltest.Step {
	return tunneltest.Serve(func(conn net.Conn) {
		next, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		defer next.Close()
		go func() {
			buf := make([]byte, 4096)
			for {
				n, err := conn.Read(buf)
				if err != nil {
					next.Close()
					return
				}
				next.Write(buf[:n])
			}
		}()
		buf := make([]byte, 4096)
		for {
			n, err := next.Read(buf)
			conn.Write(buf[:n])
			if err != nil {
				tunneltest.CloseWrite(conn)
				return
			}
		}
	})
}

func TestTimelineInOrder(t *testing.T) {
	r := probeScript(t, testkit.LongWait, testkit.HangUp(reply200+"\r\nhello")...)
	want := []string{SpanConnect, SpanRequest, SpanFirstReplyByte, SpanReplyComplete, SpanFirstTunnelByte, SpanClose}
	var got []string
	last := Micros(0)
	for _, s := range r.Timeline {
		got = append(got, s.Phase)
		if s.At < last || s.Duration < 0 || !s.Finished {
			t.Errorf("%+v after %d", s, last)
		}
		last = s.At
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%v, want %v", got, want)
	}
}
