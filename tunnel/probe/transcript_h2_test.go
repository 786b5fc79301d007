package probe

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/internal/h2"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"
)

// saved writes a report's transcript, and returns a proxy that replays it.
func saved(t *testing.T, r *Report) (proxy string, text string) {
	t.Helper()
	var out bytes.Buffer
	if err := r.WriteTranscript(&out, "0"); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "saved.txtar")
	if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return tunneltest.StartTranscript(t, file).Addr(), out.String()
}

// answer2 answers streams with fields in pairs and content, and ends them or not.
func answer2(content string, end bool, pairs ...string) func(*h2.Stream, h2.Head) {
	return func(s *h2.Stream, _ h2.Head) {
		var fields []h2.Field
		for i := 0; i < len(pairs); i += 2 {
			fields = append(fields, h2.Field{Name: pairs[i], Value: pairs[i+1]})
		}
		s.Respond(fields, false)
		io.WriteString(s, content)
		if end {
			s.CloseWrite()
		}
	}
}

// framedProxies lists proxies that speak HTTP/2 by what they do to the stream.
var framedProxies = []struct {
	name   string
	handle func(*h2.Stream, h2.Head)
}{
	{"open", answer2("SSH-2.0-x\r\n", false, ":status", "200", "server", nasty2)},
	{"open and ended", answer2("", true, ":status", "200")},
	{"refusal", answer2("no", true, ":status", "403", "proxy-status", "p; error=http_request_denied")},
	{"refusal without end", answer2("no", false, ":status", "502")},
	{"gigabyte", func(s *h2.Stream, _ h2.Head) {
		answer2("", false, ":status", "200")(s, h2.Head{})
		for err := error(nil); err == nil; {
			_, err = io.WriteString(s, floods)
		}
	}},
	{"reset", func(s *h2.Stream, _ h2.Head) { s.Reset(h2.CodeEnhanceYourCalm) }},
	{"reset tunnel", func(s *h2.Stream, _ h2.Head) {
		answer2("half", false, ":status", "200")(s, h2.Head{})
		s.Reset(h2.CodeConnect)
	}},
	{"refused stream", func(s *h2.Stream, _ h2.Head) { s.Reset(h2.CodeRefusedStream) }},
	{"portal", answer2("", true, ":status", "302", "location", "http://login.test/")},
	{"going away", func(s *h2.Stream, _ h2.Head) {
		s.Conn().Shutdown()
		answer2("", true, ":status", "403")(s, h2.Head{})
	}},
	{"echo", func(s *h2.Stream, _ h2.Head) {
		answer2("", false, ":status", "200")(s, h2.Head{})
		b := make([]byte, 64)
		n, _ := s.Read(b)
		s.Write(b[:n])
		s.CloseWrite()
	}},
}

const nasty2 = "\u202e\u009bevil" // field values of HTTP/2 have no control characters

// A transcript of HTTP/2 replays to the same report, whether it was inside TLS or
// not.
func TestTranscriptOfHTTP2(t *testing.T) {
	pair, roots := testkit.CertificateFor(t, "proxy.test", 1000*time.Hour)
	for _, tt := range framedProxies {
		for _, scheme := range []string{"h2c", "https"} {
			t.Run(tt.name+" "+scheme, func(t *testing.T) {
				t.Parallel()
				proxy := tunneltest.Start(t, func(conn net.Conn) {
					if scheme == "https" {
						conn = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}})
					}
					h2.Server(conn, h2.Config{}, tt.handle).Wait()
				})
				wantSameReport(t, scheme+"://"+proxy.Addr(), func(proxy string, limit time.Duration) *Report {
					if !strings.Contains(proxy, "://") {
						proxy = "h2c://" + proxy // the replay is without TLS
					}
					p := &Prober{Client: &client.Client{Route: testkit.MustRoute(t, proxy)}, Wait: 2 * limit}
					p.Client.Route.Hops[0].TLS = &tunnel.TLSOptions{Roots: roots, ServerName: "proxy.test"}
					if p.Client.Timeout = testkit.Patience; tt.name == "echo" {
						p.Send = []byte("hello\n")
					}
					return probeAt(t, p)
				})
			})
		}
	}
}

// wantSameReport checks that a transcript replays to the report it was made from.
// proxy is the original one; probe probes a proxy within a limit.
func wantSameReport(t *testing.T, proxy string, probe func(proxy string, limit time.Duration) *Report) {
	t.Helper()
	testkit.WithLimits(func(limit time.Duration, last bool) bool {
		first := probe(proxy, limit)
		addr, text := saved(t, first)
		wantPrintable(t, "transcript", []byte(text), false)
		difference := compareReports(first, probe(addr, limit))
		if difference != "" && last {
			t.Errorf("%s, from\n%.3000s", difference, text)
		}
		return difference == ""
	})
}

// compareReports says in what the second report differs from the first.
func compareReports(first, second *Report) string {
	if first.Verdict.Kind != second.Verdict.Kind || first.Verdict.ExitCode != second.Verdict.ExitCode || len(first.Exchanges) != len(second.Exchanges) {
		return fmt.Sprintf("%+v, then %+v", first.Verdict, second.Verdict)
	}
	for i, a := range first.Exchanges {
		b := second.Exchanges[i]
		if !bytes.Equal(a.Reply, b.Reply) || !bytes.Equal(a.Content, b.Content) || a.Status != b.Status || a.AfterRefusal != b.AfterRefusal || a.Connection != b.Connection || a.Left != b.Left {
			return fmt.Sprintf("exchange %d: %+v, then %+v", i+1, a, b)
		}
	}
	if len(first.TLS) == 0 { // it is not replayed
		for i, f := range first.Findings {
			if second.Findings[i].Grade != f.Grade {
				return fmt.Sprintf("%s: %s, then %s", f.ID, f.Grade, second.Findings[i].Grade)
			}
		}
	}
	if (first.Tunnel == nil) != (second.Tunnel == nil) || first.Tunnel != nil && (!bytes.Equal(first.Tunnel.Data, second.Tunnel.Data) || first.Tunnel.End != second.Tunnel.End) {
		return fmt.Sprintf("%+v, then %+v", first.Tunnel, second.Tunnel)
	}
	return ""
}

// Over HTTP/2 a login stays on its connection, in another stream.
func TestTranscriptOfALoginOverHTTP2(t *testing.T) {
	proxy := tunneltest.Start(t, func(conn net.Conn) {
		h2.Server(conn, h2.Config{}, func(s *h2.Stream, head h2.Head) {
			if head.Get("proxy-authorization") == "" {
				answer2("", true, ":status", "407", "proxy-authenticate", "Basic")(s, head)
				return
			}
			answer2("hello", false, ":status", "200")(s, head)
		}).Wait()
	})
	probe := func(proxy string, limit time.Duration) *Report {
		return probeAt(t, &Prober{Client: &client.Client{Route: testkit.MustRoute(t, "h2c://ada:"+hostileSecret+"@"+proxy)}, Wait: 2 * limit})
	}
	_, text := saved(t, probe(proxy.Addr(), testkit.BriefWait))
	if strings.Count(text, "/request in frames --") != 2 || !strings.Contains(text, "proxy-authorization: Basic ***\\r\\n") {
		t.Errorf("%s", text)
	}
	wantSameReport(t, proxy.Addr(), probe)
}

// Credentials that come back are masked if frames allow that; otherwise no
// transcript is written.
func TestTranscriptOfHTTP2KeepsSecrets(t *testing.T) {
	for _, tt := range []struct {
		name   string
		handle func(*h2.Stream, h2.Head)
		err    error
	}{
		{"in content", answer2("no "+hostileSecret+"!", true, ":status", "403"), nil},
		{"in a field, compressed", answer2("", true, ":status", "403", "via", "1.1 "+hostileSecret), ErrSecretSentBack},
		{"in two pieces of content", func(s *h2.Stream, head h2.Head) {
			answer2(hostileSecret[:5], false, ":status", "403")(s, head)
			io.WriteString(s, hostileSecret[5:])
			s.CloseWrite()
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			proxy := tunneltest.Start(t, func(conn net.Conn) { h2.Server(conn, h2.Config{}, tt.handle).Wait() })
			p := hostileProber(t, "h2c://ada:"+hostileSecret+"@"+proxy.Addr(), false)
			r := probeHostile(t, p)
			var out bytes.Buffer
			if err := r.WriteTranscript(&out, "0"); err != tt.err && err != ErrSecretSentBack {
				t.Errorf("%v, want %v", err, tt.err)
			}
			wantPrintable(t, "transcript", out.Bytes(), false)
			if p.ShowSecrets = true; probeAt(t, p).WriteTranscript(&out, "0") != nil {
				t.Error("not even with secrets shown")
			}
		})
	}
}

// A transcript says that TLS inside the tunnel is left out.
func TestTranscriptLeavesTLSOut(t *testing.T) {
	for _, inside := range []bool{true, false} {
		r := &Report{Exchanges: []Exchange{{Connection: 1}}, TLS: []TLSHandshake{{Inside: inside}}}
		var out bytes.Buffer
		if r.WriteTranscript(&out, "0") != nil || strings.Contains(out.String(), "TLS with the target is left out") != inside {
			t.Errorf("%s", &out)
		}
	}
}
