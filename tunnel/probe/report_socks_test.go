package probe

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"culvert/tunnel"
	"culvert/tunnel/internal/clienttest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/terminal"
	"culvert/tunnel/tunneltest"
)

// The messages of a SOCKS hop are in the report in text, hexadecimal and JSON, each
// with its meaning, and in the timeline. None of them shows the password.
func TestSOCKSHandshake(t *testing.T) {
	p := testkit.SOCKSThen(t, "05 02 00 02 > 05 02 ; 01 02 6d65 08 68756e7465723232 > 01 00 ; 05 01 00 03 09 622e6578616d706c65 0c38 > "+testkit.SOCKSSucceeded,
		testkit.HangUp(reply200+"\r\nhello")...)
	r := probeAt(t, &Prober{Client: clienttest.Proxied(t, "socks5h://me:hunter22@"+p.Addr(), "http://b.example:3128"), Wait: testkit.LongWait})
	if r.Verdict.Kind != VerdictOpen || len(r.SOCKS) != 1 || len(r.SOCKS[0].Messages) != 3 {
		t.Fatalf("%+v, %+v", r.Verdict, r.SOCKS)
	}
	if h := r.SOCKS[0]; h.Hop != p.Addr() || h.Scheme != tunnel.SchemeSOCKS5H || h.Connection != 1 || h.Before != 0 || h.AskedFor.String() != "b.example:3128" || h.Error != "" || h.Left != "" {
		t.Errorf("%+v", h)
	}
	var text, dump, doc bytes.Buffer
	r.WriteText(&text, terminal.Style{})
	r.WriteHex(&dump, terminal.Style{})
	r.WriteJSON(&doc)
	want := `* ask P for b.example:3128 by socks5h
* greeting: version 5, without a login or with a user name and a password
> \x05\x02\x00\x02
< \x05\x02
* a user name and a password are wanted
* authentication: the user name me, and the password
> \x01\x02me***
< \x01\x00
* accepted
* connect: the name b.example, port 3128
> \x05\x01\x00\x03\tb.example\x0c8
< \x05\x00\x00\x01\xc0\x00\x02\x07\x1f\x90
* connected, from 192.0.2.7:8080
* ask b.example:3128 for `
	if want = strings.Replace(want, "P", p.Addr(), 1); !strings.Contains(text.String(), want) {
		t.Errorf("no\n%s\nin\n%s", want, &text)
	}
	for _, line := range []string{"> 00000000  05 02 00 02 ", "< 00000000  05 00 00 01 c0 00 02 07  1f 90 "} {
		if !strings.Contains(dump.String(), "\n"+line) {
			t.Errorf("no %q in\n%s", line, &dump)
		}
	}
	for _, form := range []*bytes.Buffer{&text, &dump, &doc} {
		if strings.Contains(form.String(), "hunter") || strings.Contains(form.String(), "68 75 6e") {
			t.Errorf("the password is in\n%s", form)
		}
	}
	var parsed struct {
		Schema int
		SOCKS  []struct {
			Messages []struct{ Step, Reply string }
		}
	}
	if err := json.Unmarshal(doc.Bytes(), &parsed); err != nil || parsed.Schema != 1 || parsed.SOCKS[0].Messages[1].Step != "authentication" || parsed.SOCKS[0].Messages[1].Reply != `\x01\x00` {
		t.Errorf("%+v, %v", parsed, err)
	}
	var phases []string
	for _, s := range r.Timeline[:5] {
		phases = append(phases, s.Phase)
	}
	if want := []string{SpanConnect, SpanSOCKSGreeting, SpanSOCKSAuthentication, SpanSOCKSConnect, SpanRequest}; !slices.Equal(phases, want) {
		t.Errorf("%q, want %q", phases, want)
	}
	if r.Timeline[1].Hop != p.Addr() || !r.Timeline[3].Finished {
		t.Errorf("%+v", r.Timeline)
	}
}

// --show-secrets shows what went over the wire.
func TestSOCKSHandshakeWithSecrets(t *testing.T) {
	p := testkit.SOCKSThen(t, "05 02 00 02 > 05 02 ; 01 02 6d65 02 7077 > 01 01")
	r := probeAt(t, &Prober{Client: clienttest.Proxied(t, "socks5h://me:pw@"+p.Addr(), "http://b.example:3128"), ShowSecrets: true})
	if got := string(r.SOCKS[0].Messages[1].Request); got != "\x01\x02me\x02pw" {
		t.Errorf("%q", got)
	}
}

// If the route ends at a SOCKS hop, the verdict says so, and the text names the
// hop.
func TestSOCKSVerdict(t *testing.T) {
	for _, tt := range []struct {
		name, url, script string
		kind              VerdictKind
		exit              int
		words, left       string
		finished          bool
	}{
		{"rules", "socks5h://", testkit.SOCKSRequest + "05 02 00 01", VerdictDenied, 6, "denied by policy (not allowed by its rules)", "closed", true},
		{"refused", "socks5h://", testkit.SOCKSRequest + "05 05 00 01", VerdictTargetUnreachable, 7, "next proxy unreachable (b.example:3128: connection refused)", "closed", true},
		{"address kind", "socks5h://", testkit.SOCKSRequest + "05 08 00 01", VerdictRejected, 8, "request rejected (it does not take this kind of address)", "closed", true},
		{"no method", "socks5h://", "05 01 00 > 05 ff", VerdictCredentials, 5, "credentials wanted by PROXY (it takes no client without a login)", "closed", true},
		{"wrong password", "socks5h://me:pw@", "05 02 00 02 > 05 02 ; 01 02 6d65 02 7077 > 01 01", VerdictCredentials, 5, "credentials refused by PROXY (the login failed with code 1)", "closed", true},
		{"HTTP", "socks5h://", "05 01 00 > 4854", VerdictNotAProxy, 8, `not a SOCKS proxy (it answered "HT")`, "closed", true},
		{"TLS", "socks5h://", "05 01 00 > 1503", VerdictWrongPort, 8, "wrong port (TLS spoken there)", "closed", true},
		{"hung up", "socks5h://", "05 01 00 >", VerdictHungUp, 8, "hung up (the connection was closed without an answer)", "closed", false},
		{"half an address", "socks5h://", testkit.SOCKSRequest + "05 00 00 01 c000", VerdictMalformed, 8, "malformed (the answer was cut short)", "closed", false},
		{"4a", "socks4a://", "04 01 0c38 00000001 00 622e6578616d706c65 00 > 00 5b 0000 00000000", VerdictTargetUnreachable, 7, "next proxy unreachable (b.example:3128: rejected or failed)", "closed", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := testkit.SOCKSThen(t, tt.script)
			r := probeAt(t, &Prober{Client: clienttest.Proxied(t, tt.url+p.Addr(), "http://b.example:3128"), Wait: testkit.LongWait})
			if v := r.Verdict; v.Kind != tt.kind || v.ExitCode != tt.exit || v.Words != strings.ReplaceAll(tt.words, "PROXY", p.Addr()) || v.Hint == "" {
				t.Errorf("%s %d %q, want %s %d %q; hint %q", v.Kind, v.ExitCode, v.Words, tt.kind, tt.exit, tt.words, v.Hint)
			}
			if h := r.SOCKS[0]; h.Error == "" || h.Left != tt.left || len(r.Exchanges) != 0 {
				t.Errorf("%+v, %d exchanges", h, len(r.Exchanges))
			}
			if s := r.Timeline[len(r.Timeline)-1]; s.Finished != tt.finished || !strings.HasPrefix(s.Phase, "socks-") {
				t.Errorf("%+v", s)
			}
			var text strings.Builder
			r.WriteText(&text, terminal.Style{})
			if !strings.Contains(text.String(), "\n* proxy "+p.Addr()+" ") {
				t.Errorf("which hop?\n%s", &text)
			}
		})
	}
}

// A silent SOCKS hop is told from one that closed the connection.
func TestSOCKSVerdictOfSilence(t *testing.T) {
	p := testkit.SOCKSThen(t, "05 01 00 >", tunneltest.Hold)
	probe := &Prober{Client: clienttest.Proxied(t, "socks5h://"+p.Addr(), "http://b.example:3128")}
	probe.Client.Timeout = 4 * testkit.BriefWait
	if r := probeAt(t, probe); r.Verdict.Kind != VerdictSilent || r.Verdict.ExitCode != 9 || r.SOCKS[0].Left != "open" {
		t.Errorf("%+v, %+v", r.Verdict, r.SOCKS)
	}
}

// With socks5 the next hop's name is resolved here. The report has that lookup,
// apart from the first hop's.
func TestSOCKSHandshakeResolves(t *testing.T) {
	p := testkit.SOCKSThen(t, "05 01 00 > 05 00 ; 05 01 00 01 c0000209 0c38 > 05 00 00 01 00000000 0000", testkit.HangUp(reply403+"\r\n")...)
	c := clienttest.Proxied(t, "socks5://"+p.Addr(), "http://b.example:3128")
	c.Resolver = testkit.ResolveTo("192.0.2.9")
	r := probeAt(t, &Prober{Client: c, Wait: testkit.LongWait})
	if r.Lookup != nil || len(r.FurtherLookups) != 1 || r.FurtherLookups[0].Host != "b.example" || r.FurtherLookups[0].Addresses[0] != "192.0.2.9" {
		t.Errorf("%+v, %+v", r.Lookup, r.FurtherLookups)
	}
	if got := r.SOCKS[0].Messages[1]; got.Asks != "192.0.2.9, which this machine found for b.example, port 3128" || got.Means != "connected" {
		t.Errorf("%+v", got)
	}
	if r.Timeline[0].Phase != SpanConnect || r.Timeline[1].Phase != SpanResolve || !r.Timeline[1].Finished || r.Verdict.Kind != VerdictDenied {
		t.Errorf("%+v, %+v", r.Timeline, r.Verdict)
	}
	c = clienttest.Proxied(t, "socks5://"+testkit.SOCKSProxy(t, "!").Addr(), "http://b.example:3128")
	c.Resolver = testkit.FailingResolver{Err: &net.DNSError{Err: "no such host", IsNotFound: true}}
	r = probeAt(t, &Prober{Client: c, Wait: testkit.LongWait})
	if want := "next proxy unreachable (b.example:3128: resolve: not by this machine; with socks5h:// the proxy does it)"; r.Verdict.Words != want || r.Verdict.ExitCode != tunnel.ExitTarget || r.FurtherLookups[0].Error == "" {
		t.Errorf("%+v, %+v", r.Verdict, r.FurtherLookups)
	}
}

// A transcript includes the SOCKS hop, and replays through it.
func TestTranscriptOfSOCKS(t *testing.T) {
	const login = "05 02 00 02 > 05 02 ; 01 02 6d65 02 7077 > 01 00 ; 05 01 00 03 09 622e6578616d706c65 0c38 >"
	then := testkit.HangUp(reply200 + "\r\nhello")
	for _, tt := range []struct {
		name, url, script string
		then              []tunneltest.Step
	}{
		{"version 5", "socks5h://me:pw@", login + testkit.SOCKSSucceeded, then},
		{"refused", "socks5h://me:pw@", login + "05 02 00 01", nil},
		{"hung up", "socks5h://me:pw@", "05 02 00 02 >", nil},
		{"version 4a", "socks4a://", "04 01 0c38 00000001 00 622e6578616d706c65 00 > 00 5a 0000 00000000", then},
	} {
		t.Run(tt.name, func(t *testing.T) {
			probe := func(addr string) *Report {
				return probeAt(t, &Prober{Client: clienttest.Proxied(t, tt.url+addr, "http://b.example:3128"), Wait: testkit.LongWait})
			}
			first := probe(testkit.SOCKSThen(t, tt.script, tt.then...).Addr())
			var text bytes.Buffer
			if err := first.WriteTranscript(&text, "0"); err != nil || !strings.Contains(text.String(), "-- connection 1/socks 1/") || strings.Contains(text.String(), "pw") {
				t.Fatalf("%v\n%s", err, &text)
			}
			file := filepath.Join(t.TempDir(), "saved.txtar")
			if err := os.WriteFile(file, text.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
			second := probe(tunneltest.StartTranscript(t, file).Addr())
			if first.Verdict.Words != second.Verdict.Words || len(first.Exchanges) != len(second.Exchanges) {
				t.Errorf("%+v, then %+v of\n%s", first.Verdict, second.Verdict, &text)
			}
			for i, m := range first.SOCKS[0].Messages {
				if !bytes.Equal(m.Reply, second.SOCKS[0].Messages[i].Reply) {
					t.Errorf("%+v, then %+v", m, second.SOCKS[0].Messages[i])
				}
			}
		})
	}
}
