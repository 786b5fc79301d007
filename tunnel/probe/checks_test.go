package probe

import (
	"strings"
	"testing"
	"time"

	"culvert/tunnel/internal/clienttest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"
)

// probeScript probes a proxy that runs the script.
func probeScript(t *testing.T, wait time.Duration, script ...tunneltest.Step) *Report {
	t.Helper()
	proxy := tunneltest.StartProxy(t, script...)
	// The script does not answer a ClientHello, so a TLSTry takes all its time.
	return probeAt(t, &Prober{Client: clienttest.Proxied(t, "http://"+proxy.Addr()), Wait: wait, tlsTryTimeout: testkit.BriefWait})
}

func probeAt(t *testing.T, p *Prober) *Report {
	t.Helper()
	report, err := p.Probe(t.Context(), testkit.MustAuthority(t, "example.com:22"))
	if err != nil {
		t.Fatalf("Probe: %v", err)
	}
	return report
}

func findingOf(t *testing.T, r *Report, id string) Finding {
	t.Helper()
	for _, f := range r.Findings {
		if f.ID == id {
			return f
		}
	}
	t.Fatalf("there is no finding %s", id)
	return Finding{}
}

func holdOn(reply string) []tunneltest.Step {
	return []tunneltest.Step{tunneltest.ReadHead, tunneltest.Send(reply), tunneltest.Hold}
}

const (
	reply200 = "HTTP/1.1 200 OK\r\n"
	reply403 = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n"
	reply407 = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n"
	htmlPage = "<!DOCTYPE html><title>Welcome</title>"
)

// checkCases lists scripted proxies, and what one check says about each.
var checkCases = []struct {
	name, id string
	script   []tunneltest.Step
	want     Grade
	evidence string // part of the evidence
}{
	{"whole head", "http-reply", testkit.HangUp(reply200 + "\r\n"), Pass, ""},
	{"head cut off", "http-reply", testkit.HangUp("HTTP/1.1 200 OK\r\nVia: 1"), Fail, `"HTTP/1.1 200 OK\r\nVia: 1"`},
	{"head with NUL", "http-reply", testkit.HangUp("HTTP/1.1 200 OK\r\nA: \x00\r\n\r\n"), Fail, "NUL"},
	{"no answer", "http-reply", testkit.HangUp(""), Skip, "no answer"},

	{"ssh server", "page", testkit.HangUp(reply200 + "\r\nSSH-2.0-hello\r\n"), Pass, ""},
	{"silent target", "page", testkit.HangUp(reply200 + "\r\n"), Pass, ""},
	{"ssh server behind a wrong length", "page", testkit.HangUp(reply200 + "Content-Length: 15\r\n\r\nSSH-2.0-hello\r\n"), Pass, ""},
	{"length without content", "page", testkit.HangUp(reply200 + "Content-Length: 15\r\n\r\n"), Pass, ""},
	{"web server that tires of waiting", "page", testkit.HangUp(reply200 + "\r\nHTTP/1.0 408 Request Time-out\r\n\r\n"), Pass, ""},
	{"words that are no page", "page", testkit.HangUp(reply200 + "\r\n<hello> I am a server of another kind\r\n"), Pass, ""},
	{"html", "page", testkit.HangUp(reply200 + "\r\n\n" + htmlPage), Fail, "HTML page"},
	{"html in chunks", "page", testkit.HangUp(reply200 + "Transfer-Encoding: chunked\r\n\r\n25\r\n" + htmlPage + "\r\n0\r\n\r\n"), Fail, "in chunks"},
	{"text in chunks", "page", testkit.HangUp(reply200 + "Transfer-Encoding: chunked\r\n\r\n2;a=b\r\nhi\r\n0\r\n\r\n"), Fail, "in chunks"},
	{"content of a length", "page", testkit.HangUp(reply200 + "Content-Length: 2\r\n\r\n{}"), Fail, "2 bytes"},
	{"two replies", "page", testkit.HangUp(reply200 + "\r\nHTTP/1.1 200 OK\r\n\r\n"), Fail, "further HTTP reply"},

	{"no length", "2xx-content-length", testkit.HangUp(reply200 + "\r\n"), Pass, ""},
	{"length 0", "2xx-content-length", testkit.HangUp(reply200 + "content-length: 0\r\n\r\n"), Fail, "Content-Length: 0"},
	{"no transfer coding", "2xx-transfer-encoding", testkit.HangUp(reply200 + "\r\n"), Pass, ""},
	{"chunked", "2xx-transfer-encoding", testkit.HangUp(reply200 + "Transfer-Encoding: chunked\r\n\r\n"), Fail, "chunked"},
	{"a refusal has a length", "2xx-content-length", testkit.HangUp(reply403 + "\r\n"), Skip, "no 2xx"},
	{"no connection option", "2xx-connection-close", testkit.HangUp(reply200 + "Connection: keep-alive\r\n\r\n"), Pass, ""},
	{"connection close", "2xx-connection-close", testkit.HangUp(reply200 + "Connection: x, Close\r\n\r\n"), Warn, "x, Close"},
	{"glued", "glued-bytes", testkit.HangUp(reply200 + "\r\nhello"), Pass, "5 came"},

	{"CR LF", "bare-lf", testkit.HangUp(reply200 + "\r\n"), Pass, ""},
	{"LF", "bare-lf", testkit.HangUp("HTTP/1.1 200 OK\r\nVia: x\n\r\n"), Fail, `"Via: x\n"`},
	{"no bare CR", "bare-cr", testkit.HangUp(reply200 + "\r\n"), Pass, ""},
	{"bare CR", "bare-cr", testkit.HangUp(reply200 + "A: b\rc\r\n\r\n"), Fail, `b\rc`},
	{"one line each", "obs-fold", testkit.HangUp(reply200 + "A: b\r\n\r\n"), Pass, ""},
	{"folded", "obs-fold", testkit.HangUp(reply200 + "A: b\r\n c\r\n\r\n"), Fail, `" c\r\n"`},
	{"colon at once", "space-before-colon", testkit.HangUp(reply200 + "A: b\r\n\r\n"), Pass, ""},
	{"space first", "space-before-colon", testkit.HangUp(reply200 + "A : b\r\n\r\n"), Fail, `"A : b\r\n"`},
	{"fields", "field-syntax", testkit.HangUp(reply200 + "A: b\r\n\r\n"), Pass, ""},
	{"no colon", "field-syntax", testkit.HangUp(reply200 + "hello\r\n\r\n"), Fail, `"hello\r\n"`},
	{"no name", "field-syntax", testkit.HangUp(reply200 + ": b\r\n\r\n"), Fail, `": b\r\n"`},
	{"bad name", "field-syntax", testkit.HangUp(reply200 + "A(): b\r\n\r\n"), Fail, "A()"},
	{"printable", "control-char", testkit.HangUp(reply200 + "A: b\tc\r\n\r\n"), Pass, ""},
	{"escape sequence", "control-char", testkit.HangUp(reply200 + "A: \x1b[31m\r\n\r\n"), Fail, `\x1b[31m`},
	{"single spaces", "status-line", testkit.HangUp(reply200 + "\r\n"), Pass, ""},
	{"two spaces", "status-line", testkit.HangUp("HTTP/1.1  200 OK\r\n\r\n"), Fail, "HTTP/1.1  200 OK"},
	{"empty reason behind its space", "reason-phrase", testkit.HangUp("HTTP/1.1 200 \r\n\r\n"), Pass, ""},
	{"no reason", "reason-phrase", testkit.HangUp("HTTP/1.1 200\r\n\r\n"), Fail, `"HTTP/1.1 200\r\n"`},
	{"1.1", "http-version", testkit.HangUp(reply200 + "\r\n"), Pass, ""},
	{"1.0", "http-version", testkit.HangUp("HTTP/1.0 200 OK\r\n\r\n"), Warn, "HTTP/1.0"},

	{"none", "interim-replies", testkit.HangUp(reply200 + "\r\n"), Pass, ""},
	{"two", "interim-replies", testkit.HangUp(strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 2) + reply200 + "\r\n"), Pass, "2 came"},
	{"endless", "interim-replies", []tunneltest.Step{tunneltest.ReadHead, tunneltest.Repeat("HTTP/1.1 100 Continue\r\n\r\n")}, Fail, "more than 16"},

	{"challenge", "407-proxy-authenticate", testkit.HangUp(reply407 + "Proxy-Authenticate: Basic realm=\"x\"\r\n\r\n"), Pass, "Basic"},
	{"no challenge", "407-proxy-authenticate", testkit.HangUp(reply407 + "\r\n"), Fail, "no such field"},
	{"empty challenge", "407-proxy-authenticate", testkit.HangUp(reply407 + "Proxy-Authenticate: \r\n\r\n"), Fail, "no scheme"},
	{"no 407", "407-proxy-authenticate", testkit.HangUp(reply403 + "\r\n"), Skip, "no 407"},
	{"407", "401-for-407", testkit.HangUp(reply407 + "\r\n"), Pass, ""},
	{"401", "401-for-407", testkit.HangUp("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"), Warn, "401"},
	{"403", "401-for-407", testkit.HangUp(reply403 + "\r\n"), Skip, "no credentials"},
	{"plain refusal", "redirect", testkit.HangUp(reply403 + "\r\n"), Pass, ""},
	{"redirect", "redirect", testkit.HangUp("HTTP/1.1 302 Found\r\nLocation: http://login/\r\nContent-Length: 0\r\n\r\n"), Warn, "http://login/"},
	{"whole content", "refusal-framing", testkit.HangUp("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"), Pass, ""},
	{"content until the close", "refusal-framing", testkit.HangUp("HTTP/1.1 403 Forbidden\r\n\r\nno"), Pass, ""},
	{"content cut off", "refusal-framing", testkit.HangUp("HTTP/1.1 403 Forbidden\r\nContent-Length: 20\r\n\r\nno"), Fail, "broke off"},
	{"two lengths", "refusal-framing", testkit.HangUp("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nno"), Fail, "both"},

	{"closed", "closed-after-refusal", testkit.HangUp(reply403 + "\r\n"), Pass, ""},
	{"closed after 407", "closed-after-refusal", testkit.HangUp(reply407 + "\r\n"), Pass, ""},
	{"kept open", "closed-after-refusal", holdOn(reply403 + "\r\n"), Warn, "stayed open"},
	{"still sending", "closed-after-refusal", []tunneltest.Step{tunneltest.ReadHead, tunneltest.Send("HTTP/1.1 403 Forbidden\r\n\r\n"), tunneltest.Repeat("no ")}, Skip, "not watched"},
	{"still sending, slowly", "closed-after-refusal", []tunneltest.Step{tunneltest.ReadHead, tunneltest.Send("HTTP/1.1 403 Forbidden\r\n\r\n"), drip}, Skip, "did not end in time"},
	{"still sending what it announced", "closed-after-refusal", []tunneltest.Step{tunneltest.ReadHead, tunneltest.Send("HTTP/1.1 403 Forbidden\r\nContent-Length: 99999\r\n\r\n"), drip}, Skip, "did not end in time"},
	{"announced content never comes", "closed-after-refusal", holdOn("HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\n"), Skip, "did not end in time"},
	{"silent without a length", "closed-after-refusal", holdOn("HTTP/1.1 403 Forbidden\r\n\r\n"), Warn, "stayed open"},
	{"opened", "closed-after-refusal", testkit.HangUp(reply200 + "\r\n"), Skip, "no refusal"},

	{"cause told", "proxy-status", testkit.HangUp(reply403 + "Proxy-Status: p; error=http_request_denied\r\n\r\n"), Pass, "http_request_denied"},
	{"cause not told", "proxy-status", testkit.HangUp(reply403 + "\r\n"), Warn, "no such field"},
	{"no error in it", "proxy-status", testkit.HangUp(reply403 + "Proxy-Status: p; received-status=403\r\n\r\n"), Warn, "no error"},
	{"well formed", "proxy-status-syntax", testkit.HangUp(reply403 + "Proxy-Status: p; error=http_request_denied\r\n\r\n"), Pass, ""},
	{"quoted token", "proxy-status-syntax", testkit.HangUp(reply403 + "Proxy-Status: p; error=\"http_request_denied\"\r\n\r\n"), Fail, "not a token"},
	{"none to judge", "proxy-status-syntax", testkit.HangUp(reply403 + "\r\n"), Skip, "no Proxy-Status"},
}

func TestChecks(t *testing.T) {
	for _, tt := range checkCases {
		t.Run(tt.id+"/"+tt.name, func(t *testing.T) {
			t.Parallel()
			wait := testkit.LongWait
			if tt.evidence == "stayed open" || tt.evidence == "did not end in time" {
				wait = testkit.BriefWait
			}
			got := findingOf(t, probeScript(t, wait, tt.script...), tt.id)
			if got.Grade != tt.want || !strings.Contains(got.Evidence, tt.evidence) {
				t.Errorf("%s %q, want %s %q", got.Grade, got.Evidence, tt.want, tt.evidence)
			}
		})
	}
}

// A check that no proxy passes, or, unless it cannot fail, that no proxy fails, is
// not tested.
func TestEveryCheckIsTestedBothWays(t *testing.T) {
	seen := map[string]bool{"glued-bytes/other": true}
	for _, tt := range checkCases {
		if tt.want == Pass {
			seen[tt.id+"/pass"] = true
		} else if tt.want != Skip {
			seen[tt.id+"/other"] = true
		}
	}
	ids := map[string]bool{}
	for _, c := range checks {
		if ids[c.id] {
			t.Errorf("%s stands twice in the table", c.id)
		}
		ids[c.id] = true
		if !seen[c.id+"/pass"] || !seen[c.id+"/other"] {
			t.Errorf("%s lacks a scripted proxy that passes, or one that does not", c.id)
		}
	}
}

func TestChecksWithoutListening(t *testing.T) {
	r := probeScript(t, -1, holdOn(reply200+"\r\n")...)
	if f := findingOf(t, r, "page"); f.Grade != Skip {
		t.Errorf("page: %s %q, want it skipped", f.Grade, f.Evidence)
	}
	r = probeScript(t, -1, holdOn(reply403+"\r\n")...)
	if f := findingOf(t, r, "closed-after-refusal"); f.Grade != Skip {
		t.Errorf("closed-after-refusal: %s %q, want it skipped", f.Grade, f.Evidence)
	}
}
