package probe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"culvert/tunnel/client"
	"culvert/tunnel/internal/clienttest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/terminal"
	"culvert/tunnel/tunneltest"
)

// hostileSecret is the password that no form of a Report may show.
const hostileSecret = "hunter2hunter2"

// nasty contains what takes over a terminal, hides text or ends strings: OSC, CSI,
// C1 in both encodings, bidi controls, a bell, DEL, and a NUL where one is allowed.
const nasty = "\x1b]0;owned\x07\x1b[2J\x1b[31m\u009b2J\x9b2J\x90q\u202eevil\u2066\u200b\x7f\x08\x0c"

// withNasty has nasty wherever a reply has text from the proxy.
var withNasty = "HTTP/1.1 403 No " + nasty + "\r\n" +
	"Server: squid/" + nasty + "\r\nVia: 1.1 " + nasty + "\r\nProxy-Agent: " + nasty + "\r\nX-Squid-Error: ERR_" + nasty + " 0\r\n" +
	"X-Cache: " + nasty + "\r\nX-Cache-Lookup: " + nasty + "\r\nX-Proxy-Error: " + nasty + "\r\n" +
	"Proxy-Status: \"" + nasty + "\"; error=dns_error; rcode=\"" + nasty + "\"; details=\"" + nasty + "\"; next-hop=\"" + nasty + "\"\r\n" +
	"Location: http://" + nasty + "/\r\nContent-Type: text/" + nasty + "\r\nSet-Cookie: " + nasty + "\r\n" + nasty + ": x\r\n" +
	"Proxy-Authenticate: Basic realm=\"" + nasty + "\"\r\n\r\n<p>&#27;[2J&#x202e;" + nasty + "\x00"

// echoed repeats the credentials wherever possible.
const echoed = "HTTP/1.1 502 No " + hostileSecret + "\r\nVia: 1.1 " + hostileSecret + "\r\nServer: YWRhOmh1bnRlcjJodW50ZXIy\r\n" +
	"Proxy-Status: " + hostileSecret + "; error=dns_error; details=\"" + hostileSecret + "\"\r\n\r\nad:" + hostileSecret

// many lines, endless or not
var (
	manyFields = reply403[:len(reply403)-len("Content-Length: 0\r\n")] + strings.Repeat("A:b\r\n", 12000)
	floods     = strings.Repeat("0123456789abcdef", 4096)
)

// hostileProxies lists what a proxy may do after it has read the request, and the
// verdict.
var hostileProxies = []struct {
	name   string
	kind   VerdictKind
	exit   int
	silent bool // only the Client's Timeout ends it
	script []tunneltest.Step
}{
	{"endless head", VerdictMalformed, 8, false, []tunneltest.Step{tunneltest.Send(reply200), again("A: b\r\n")}},
	{"endless line", VerdictMalformed, 8, false, []tunneltest.Step{tunneltest.Send(reply200), again(floods)}},
	{"endless status line", VerdictMalformed, 8, false, []tunneltest.Step{tunneltest.Send("HTTP/1.1 200 "), again(floods)}},
	{"endless garbage", VerdictNotAProxy, 8, false, []tunneltest.Step{again(nasty)}},
	{"endless empty lines", VerdictNotAProxy, 8, false, []tunneltest.Step{again("\r\n")}},
	{"endless 1xx", VerdictMalformed, 8, false, []tunneltest.Step{again("HTTP/1.1 103 " + nasty + "\r\nLink: a\r\n\r\n")}},
	{"large 1xx", VerdictDenied, 6, false, []tunneltest.Step{tunneltest.Send(strings.Repeat("HTTP/1.1 103 E\r\nA: "+strings.Repeat("a", 60000)+"\r\n\r\n", client.MaxInterim)), tunneltest.Send(reply403 + "\r\n"), tunneltest.Finish}},
	{"100000 fields", VerdictMalformed, 8, false, []tunneltest.Step{tunneltest.Send(reply200 + strings.Repeat("A:b\r\n", 100000) + "\r\n"), tunneltest.Finish}},
	{"12000 fields", VerdictDenied, 6, false, []tunneltest.Step{tunneltest.Send(manyFields + "\r\n"), tunneltest.Finish}},
	{"identity without end", VerdictDenied, 6, false, []tunneltest.Step{tunneltest.Send("HTTP/1.1 403 No\r\nContent-Length: 0\r\n" + strings.Repeat("Via:1.1 a\r\n", 5000) + "\r\n"), tunneltest.Finish}},
	{"statuses without end", VerdictDenied, 6, false, []tunneltest.Step{tunneltest.Send("HTTP/1.1 403 No\r\nContent-Length: 0\r\nProxy-Status: " + strings.Repeat("a;error=x,", 6000) + "b\r\n\r\n"), tunneltest.Finish}},
	{"gigabyte by length", VerdictDenied, 6, false, []tunneltest.Step{tunneltest.Send("HTTP/1.1 403 No\r\nContent-Length: 1073741824\r\n\r\n"), again(floods)}},
	{"gigabyte by close", VerdictDenied, 6, false, []tunneltest.Step{tunneltest.Send("HTTP/1.1 403 No\r\n\r\n"), again(floods)}},
	{"endless chunks", VerdictDenied, 6, false, []tunneltest.Step{tunneltest.Send("HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n"), again("1\r\na\r\n")}},
	{"endless chunk extension", VerdictDenied, 6, false, []tunneltest.Step{tunneltest.Send("HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n1;"), again("a=" + floods)}},
	{"endless trailers", VerdictDenied, 6, false, []tunneltest.Step{tunneltest.Send("HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"), again("A: b\r\n")}},
	{"endless 407", VerdictCredentials, 5, false, []tunneltest.Step{tunneltest.Send("HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nTransfer-Encoding: chunked\r\n\r\n"), again("1\r\na\r\n")}},
	{"drip in the head", VerdictMalformed, 9, true, []tunneltest.Step{tunneltest.Send(reply200 + "A: "), drip}},
	{"drip from the first byte on", VerdictMalformed, 9, true, []tunneltest.Step{tunneltest.Send("HTTP/1.1 2"), drip}},
	{"drip in content", VerdictDenied, 6, false, []tunneltest.Step{tunneltest.Send("HTTP/1.1 403 No\r\n\r\n"), drip}},
	{"drip in the tunnel", VerdictOpen, 0, false, []tunneltest.Step{tunneltest.Send(reply200 + "\r\n"), drip}},
	{"flood in the tunnel", VerdictOpen, 0, false, []tunneltest.Step{tunneltest.Send(reply200 + "\r\n" + nasty), again(nasty)}},
	{"tar pit", VerdictSilent, 9, true, []tunneltest.Step{tunneltest.Hold}},
	{"escapes everywhere", VerdictTargetUnreachable, 7, false, []tunneltest.Step{tunneltest.Send(withNasty), tunneltest.Finish}},
	{"escapes in a portal", VerdictCaptivePortal, 6, false, []tunneltest.Step{tunneltest.Send(strings.Replace(strings.Replace(withNasty, "403", "302", 1), "error=dns_error", "x=y", 1)), tunneltest.Finish}},
	{"escapes in a challenge", VerdictCredentials, 5, false, []tunneltest.Step{tunneltest.Send(strings.Replace(withNasty, "403", "407", 1)), tunneltest.Finish}},
	{"credentials sent back", VerdictTargetUnreachable, 7, false, []tunneltest.Step{tunneltest.Send(echoed), tunneltest.Finish}},
	{"credentials in the tunnel", VerdictOpen, 0, false, []tunneltest.Step{tunneltest.Send(reply200 + "\r\nSSH-" + hostileSecret + "\n"), tunneltest.Send(hostileSecret), tunneltest.Finish}},
	{"NULs", VerdictNotAProxy, 8, false, []tunneltest.Step{tunneltest.Send(strings.Repeat("\x00", 100000)), tunneltest.Finish}},
	{"NUL in the head", VerdictMalformed, 8, false, []tunneltest.Step{tunneltest.Send(reply200 + "A: \x00\r\n\r\n"), tunneltest.Hold}},
	{"SETTINGS of HTTP/2", VerdictNotAProxy, 8, false, []tunneltest.Step{tunneltest.Send("\x00\x00\x00\x04\x00\x00\x00\x00\x00"), tunneltest.Hold}},
	{"TLS alert", VerdictWrongPort, 8, false, []tunneltest.Step{tunneltest.Send("\x15\x03\x01\x00\x02\x02\x46"), tunneltest.Finish}},
	{"reset before a byte", VerdictHungUp, 8, false, []tunneltest.Step{tunneltest.Cut}},
	{"reset in the head", VerdictMalformed, 8, false, []tunneltest.Step{tunneltest.Send(reply200 + "A: "), tunneltest.Cut}},
	{"reset in content", VerdictDenied, 6, false, []tunneltest.Step{tunneltest.Send("HTTP/1.1 403 No\r\nContent-Length: 100\r\n\r\na"), tunneltest.Cut}},
}

// again repeats the text in large pieces, so that the test itself takes little
// memory.
func again(text string) tunneltest.Step {
	return tunneltest.Repeat(strings.Repeat(text, 1+(16<<10)/len(text)))
}

// drip sends one byte at a time until the connection breaks.
func drip(turn *tunneltest.Turn) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if _, err := io.WriteString(turn.Conn, "a"); err != nil {
			break
		}
	}
	return false
}

// Whatever a proxy does, probe ends with a verdict, in bounded time and memory, and
// shows neither raw bytes nor credentials. Its transcript replays to the same
// verdict.
func TestHostileAnswers(t *testing.T) {
	for _, tt := range hostileProxies {
		t.Run(tt.name, func(t *testing.T) {
			proxy := tunneltest.StartProxy(t, append([]tunneltest.Step{tunneltest.ReadHead}, tt.script...)...)
			probe := func(addr string, how func(*testing.T, *Prober) *Report) (r *Report) {
				testkit.WithLimits(func(limit time.Duration, last bool) bool {
					p := hostileProber(t, "http://ada:"+hostileSecret+"@"+addr, false)
					if tt.silent {
						p.Client.Timeout = limit
					}
					r = how(t, p)
					v := r.Verdict
					ok := v.Kind == tt.kind && v.ExitCode == tt.exit
					if !ok && (last || !tt.silent) {
						t.Errorf("%s, exit %d: %s; want %s, exit %d", v.Kind, v.ExitCode, v.Words, tt.kind, tt.exit)
					}
					return ok || !tt.silent
				})
				return r
			}
			addr, text := saved(t, probe(proxy.Addr(), probeHostile))
			if probe(addr, probeAt); t.Failed() {
				t.Logf("played back from\n%.1000s", text)
			}
		})
	}
}

func hostileProber(t *testing.T, proxy string, silent bool) *Prober {
	t.Helper()
	p := &Prober{Client: clienttest.Proxied(t, proxy), Wait: 2 * testkit.BriefWait, tlsTryTimeout: testkit.BriefWait}
	p.Client.Auth = client.AuthBasic
	if p.Client.Timeout = testkit.Patience; silent {
		p.Client.Timeout = 4 * testkit.BriefWait
	}
	return p
}

// Bounds on a probe: a second for content, and the waits. The memory includes what
// the other end and the race detector allocate.
const (
	hostileTime       = testkit.Patience / 2
	hostileProbeBytes = 32 << 20
)

// probeHostile probes, and checks the time, the memory and the forms of the report.
func probeHostile(t *testing.T, p *Prober) *Report {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	r := probeAt(t, p)
	if took := time.Since(start); took > hostileTime {
		t.Errorf("it took %v", took)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > hostileProbeBytes {
		t.Errorf("%d bytes were allocated", used)
	}
	wantHarmlessForms(t, r)
	return r
}

// wantHarmlessForms checks each form of a report.
func wantHarmlessForms(t *testing.T, r *Report) {
	t.Helper()
	if r.Verdict.Kind == "" || r.Verdict.Words == "" || (r.Verdict.ExitCode == 0) != (r.Verdict.Kind == VerdictOpen) || len(r.Verdict.Words) > 1000 {
		t.Errorf("the verdict is %+v", r.Verdict)
	}
	for form, write := range map[string]func(io.Writer) error{
		"text": func(w io.Writer) error { return r.WriteText(w, terminal.Style{}) },
		"hex":  func(w io.Writer) error { return r.WriteHex(w, terminal.Style{}) },
		"json": r.WriteJSON, "raw": r.WriteRaw,
		"transcript": func(w io.Writer) error { return r.WriteTranscript(w, "0") },
	} {
		var out bytes.Buffer
		if err := write(&out); err != nil {
			if form != "transcript" {
				t.Errorf("%s: %v", form, err)
			}
			continue
		}
		wantPrintable(t, form, out.Bytes(), form == "raw")
		switch last := "verdict: " + r.Verdict.Words + "\n"; {
		case form == "json" && !json.Valid(out.Bytes()):
			t.Errorf("no JSON: %.200s", &out)
		case (form == "text" || form == "hex") && !strings.HasSuffix(out.String(), "\n"+last):
			t.Errorf("the %s does not end in %q", form, last)
		case form == "text" && bytes.Count(out.Bytes(), []byte("\n")) > 2500:
			t.Errorf("the text has %d lines", bytes.Count(out.Bytes(), []byte("\n")))
		}
	}
}

// wantPrintable checks that out harms no terminal and shows no credentials.
func wantPrintable(t *testing.T, form string, out []byte, raw bool) {
	t.Helper()
	for _, secret := range []string{hostileSecret, "YWRhOmh1bnRlcjJodW50ZXIy", "hunter2"} {
		if i := bytes.Index(out, []byte(secret)); i >= 0 {
			t.Errorf("%s shows %q: %.200q", form, secret, out[max(0, i-80):])
			break
		}
	}
	for i, c := range out {
		if !raw && c != '\n' && (c < ' ' || c > '~') {
			t.Errorf("%s has byte %#x: %.200q", form, c, out[max(0, i-80):])
			return
		}
	}
}

// The same in a series, with a line for each try and a summary.
func TestHostileSeries(t *testing.T) {
	replies := []string{withNasty, echoed, nasty, "HTTP/1.1 200 " + nasty + "\r\n\r\n" + nasty, "\x00", reply200}
	n := make(chan string, len(replies))
	for _, reply := range replies {
		n <- reply
	}
	proxy := tunneltest.Start(t, func(conn net.Conn) {
		conn.Read(make([]byte, 1024))
		io.WriteString(conn, <-n)
	})
	p := hostileProber(t, "http://ada:"+hostileSecret+"@"+proxy.Addr(), false)
	var out bytes.Buffer
	s := &Series{Prober: p, Count: len(replies)}
	r, err := s.Run(t.Context(), testkit.MustAuthority(t, "example.com:22"), true, func(try Try) { try.WriteText(&out, terminal.Style{}) })
	if err != nil || r.Done != len(replies) || r.Opened != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	r.WriteText(&out, terminal.Style{})
	wantPrintable(t, "text", out.Bytes(), false)
	out.Reset()
	r.WriteJSON(&out)
	wantPrintable(t, "json", out.Bytes(), false)
	if !json.Valid(out.Bytes()) {
		t.Errorf("no JSON: %s", &out)
	}
}

// Each protocol is spoken to a client of another, SOCKS included: their text and
// frames are escaped too.
func TestHostileProtocols(t *testing.T) {
	goAway := "\x00\x00\x00\x04\x00\x00\x00\x00\x00" + fmt.Sprintf("\x00\x00%c\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02%s", 8+len(nasty), nasty)
	for _, tt := range []struct {
		name, scheme, answer string
		kind                 VerdictKind
	}{
		{"HTTP/1 to HTTP/2", "h2c", withNasty, VerdictNotAProxy},
		{"garbage to HTTP/2", "h2c", nasty, VerdictNotAProxy},
		{"GOAWAY with escapes", "h2c", goAway, VerdictHungUp},
		{"endless SETTINGS", "h2c", strings.Repeat("\x00\x00\x00\x04\x00\x00\x00\x00\x00", 100000), VerdictMalformed},
		{"HTTP/1 to TLS", "https", withNasty, VerdictWrongPort},
		{"garbage to TLS", "https", nasty, VerdictWrongPort},
		{"an alert to TLS", "https", "\x15\x03\x03\x00\x02\x02\x28", VerdictTLS},
		{"garbage to SOCKS", "socks5h", nasty, VerdictNotAProxy},
		{"a SOCKS failure", "socks5h", "\x05\x02\x01\x00\x05\xff\x00\x01", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			proxy := tunneltest.StartProxy(t, tunneltest.Send(tt.answer), tunneltest.Finish)
			hops := []string{tt.scheme + "://ada:" + hostileSecret + "@" + proxy.Addr()}
			if tt.scheme == "socks5h" {
				hops = append(hops, "http://192.0.2.1:3128")
			}
			p := &Prober{Client: clienttest.Proxied(t, hops...), Wait: testkit.BriefWait}
			p.Client.Timeout = testkit.Patience / 4
			if r := probeHostile(t, p); r.Verdict.Kind != tt.kind && tt.kind != "" {
				t.Errorf("%+v, want %s", r.Verdict, tt.kind)
			}
		})
	}
}
