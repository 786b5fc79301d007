package probe

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/tunnel/internal/clienttest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"
)

// A transcript replays to the report it was made from.
func TestTranscriptRoundTrip(t *testing.T) {
	for _, tt := range []struct {
		name   string
		script []tunneltest.Step
	}{
		{"refusal", testkit.HangUp(reply403 + "\r\n")},
		{"refusal that stays", holdOn(reply403 + "\r\n")},
		{"redirect", testkit.HangUp("HTTP/1.1 302 Found\r\nLocation: http://portal.example/\r\n\r\n")},
		{"half a head", testkit.HangUp("HTTP/1.1 200 OK\r\nVia: 1")},
		{"head that stops", holdOn("HTTP/1.1 200 OK\r\nVia: 1")},
		{"nothing", testkit.HangUp("")},
		{"garbage", testkit.HangUp("\x00\x1b[2J\x07\\n\\\r\n-- x --\n-- y --")},
		{"reset", []tunneltest.Step{tunneltest.ReadHead, tunneltest.Cut}},
		{"bytewise", []tunneltest.Step{tunneltest.ReadHead, tunneltest.SendBytewise("HTTP/1.1 200 OK\nA : b\n\nSSH-2.0-x\r\n"), tunneltest.Finish}},
		{"tunnel that stays", holdOn("HTTP/1.1 200 OK\r\n\r\nSSH-2.0-x\r\n")},
		{"page", testkit.HangUp(reply200 + "\r\n" + htmlPage)},
		{"1xx and chunks", testkit.HangUp("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 502 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			wantSameReport(t, tunneltest.StartProxy(t, tt.script...).Addr(), func(proxy string, limit time.Duration) *Report {
				p := &Prober{Client: clienttest.Proxied(t, proxy), Wait: 2 * limit, tlsTryTimeout: testkit.BriefWait}
				if p.Client.Timeout = testkit.Patience; strings.Contains(tt.name, "stops") {
					p.Client.Timeout = 2 * limit
				}
				return probeAt(t, p)
			})
		})
	}
}

// The connections of a login are kept apart, and replayed as many.
func TestTranscriptOfALogin(t *testing.T) {
	p := testkit.StartLoginProxy(t, func(_, _ int, value string) (string, bool) {
		if value == "" {
			return "HTTP/1.1 407 No\r\nConnection: close\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n", false
		}
		return testkit.TunnelOpen, true
	})
	probe := func(proxy string) *Report {
		return probeAt(t, &Prober{Client: clienttest.Proxied(t, "http://ada:lovelace@"+proxy), Wait: testkit.BriefWait})
	}
	first := probe(p.Addr())
	var text bytes.Buffer
	first.WriteTranscript(&text, "0")
	if strings.Contains(text.String(), "YWRh") || !strings.Contains(text.String(), "-- connection 2/exchange 2/request --") {
		t.Errorf("%s", &text)
	}
	file := filepath.Join(t.TempDir(), "saved.txtar")
	os.WriteFile(file, text.Bytes(), 0o644)
	if second := probe(tunneltest.StartTranscript(t, file).Addr()); second.Verdict != first.Verdict || len(second.Exchanges) != 2 {
		t.Errorf("%+v", second.Verdict)
	}
}

func TestTranscriptRefuses(t *testing.T) {
	for _, text := range []string{"", "-- a --\n", "-- tunnel/read --\nx\n", "-- c 1/e 1/nonsense --\n", "-- c 1/e 1/left --\nangry\n", "-- c 1/e 1/request --\n\\q\n"} {
		if _, err := tunneltest.Transcript([]byte(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// Transcripts of real proxies replay to the verdicts on record.
func TestTranscriptsOfRealProxies(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "transcripts", "*.txtar"))
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			proxy := "http://" + tunneltest.StartTranscript(t, file).Addr()
			if strings.Contains(string(text), "-- connection 2/") {
				proxy = strings.Replace(proxy, "//", "//ada:lovelace@", 1)
			}
			r := probeAt(t, &Prober{Client: clienttest.Proxied(t, proxy), Wait: 4 * testkit.BriefWait})
			if want := "\nverdict: " + r.Verdict.Words + "\n"; !strings.Contains(string(text), want) {
				t.Errorf("%s is not in the comment", want)
			}
		})
	}
}
