package audit

import (
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/tunnel/probe"
)

const (
	refused403 = "HTTP/1.1 403 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
	refused503 = "HTTP/1.1 503 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)

// refuseIf refuses heads that contain one of the marks.
func refuseIf(reply string, marks ...string) func(string) string {
	return func(head string) string {
		if slices.ContainsFunc(marks, func(m string) bool { return strings.Contains(head, m) }) {
			return reply
		}
		return ""
	}
}

// above8K refuses heads of more than 8 KiB.
func above8K(reply string) func(string) string {
	return func(head string) string {
		if len(head) > 8<<10 {
			return reply
		}
		return ""
	}
}

// hangs leaves heads that contain the mark without an answer for longer than the audit
// waits.
func hangs(mark string) func(string) string {
	return func(head string) string {
		if strings.Contains(head, mark) {
			<-time.After(2 * testPatience)
			return "x"
		}
		return ""
	}
}

// inHTTP10 passes a plain request on in HTTP/1.0, and the reply unchanged.
func inHTTP10(conn net.Conn, head string) {
	blind(conn, strings.Replace(head, " HTTP/1.1\r\n", " HTTP/1.0\r\n", 1))
}

// oneEach answers one request per connection.
func oneEach(conn net.Conn, head string) {
	origin := &oneReply{Conn: conn}
	blind(origin, strings.Replace(head, "\r\n", "\r\nConnection: close\r\n", 1))
}

// oneReply passes on nothing that comes from the client.
type oneReply struct{ net.Conn }

func (*oneReply) Read([]byte) (int, error) { return 0, io.EOF }

// stayOpen keeps a refused connection open in silence.
func stayOpen(net.Conn) { <-time.After(3 * testPatience) }

// What no rule forbids does not fail a proxy.
func TestFairness(t *testing.T) {
	t.Parallel()
	mute := "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\n"
	for _, tt := range []struct {
		name  string
		proxy bad
		want  string // grade and check
	}{
		{"ports refused by 403", bad{refuses: refuseIf(refused403, ":0 ", ":65536 ", "x HTTP", ": HTTP")}, "pass target-port-0, pass target-port-65536, pass target-port-letters, pass target-empty-port"},
		{"ports that are tried", bad{refuses: refuseIf(refused503, ":0 ", ": HTTP")}, "warn target-port-0, warn target-empty-port"},
		{"a malformed target refused by 503", bad{refuses: refuseIf(refused503, "me@")}, "warn target-userinfo"},
		{"an empty host that leads nowhere", bad{refuses: refuseIf(refused503, "CONNECT :")}, "pass target-no-host"},
		{"HTTP/1.0", bad{reply: "HTTP/1.0 200 OK\r\n\r\n", refuses: refuseIf("HTTP/1.0 400 No\r\n\r\n", ":0 ")}, "pass connect-2xx-version"},
		{"HTTP/1.0 where it says 1.1 elsewhere", bad{reply: "HTTP/1.0 200 OK\r\n\r\n", refuses: refuseIf("HTTP/1.1 400 No\r\n\r\n", ":0 ")}, "warn connect-2xx-version"},
		{"waits behind a NUL", bad{refuses: hangs("\x00"), plain: blind}, "warn target-nul, warn field-nul, warn plain-nul"},
		{"origins are asked in HTTP/1.0", bad{plain: inHTTP10}, "skip plain-reply-chunked, skip plain-reply-both, skip plain-1xx, pass plain-reply-close"},
		{"a proxy of HTTP/1.0", bad{plain: func(conn net.Conn, head string) {
			io.WriteString(conn, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nxx")
		}},
			"skip plain-chunked, skip plain-trailers, skip plain-length-and-coding, skip plain-bad-chunk, skip plain-expect"},
		{"a close that is announced only", bad{plain: func(conn net.Conn, head string) {
			if strings.HasPrefix(head, "HEAD") {
				io.WriteString(conn, mute)
				stayOpen(conn)
				return
			}
			byItself(conn, head)
		}}, "pass plain-head"},
		{"content behind HEAD", bad{plain: func(conn net.Conn, head string) { io.WriteString(conn, mute+"hello") }}, "fail plain-head"},
		{"a request to a connection", bad{plain: oneEach}, "warn plain-keep-alive, skip plain-keep-alive-alone"},
		{"a refusal that stays open in silence", bad{refuses: refusesSome(refused403), lingers: stayOpen}, "warn refusal-closes"},
		{"a refusal that stays open for more", bad{refuses: refusesSome(refused403), plain: byItself, reads: true}, "fail refusal-closes"},
		{"out of reach", bad{refuses: refuseIf("HTTP/1.1 504 No\r\nContent-Length: 0\r\n\r\n", "CONNECT")}, "skip connect"},
		{"no CONNECT", bad{refuses: refuseIf("HTTP/1.1 501 No\r\nContent-Length: 0\r\n\r\n", "CONNECT")}, "skip connect"},
		{"heads of 8 KiB at most", bad{refuses: above8K("HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n")}, "pass head-limit, pass head-too-large"},
		{"a hundred fields at most", bad{refuses: func(head string) string {
			if strings.Count(head, "\n") > 102 { // the request line and the blank one are none
				return "HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n"
			}
			return ""
		}}, "pass head-lines"},
		{"both lengths on CONNECT", bad{}, "warn length-and-coding"},
		{"HTTP/2.0", bad{}, "warn version-2"},
		{"credentials that it did not ask for", bad{plain: blind}, "warn plain-credentials"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var only []string
			for word := range strings.SplitSeq(tt.want, ", ") {
				_, id, _ := strings.Cut(word, " ")
				only = append(only, id)
			}
			grades := map[string]probe.Grade{}
			for _, r := range auditOf(t, "http://"+tt.proxy.start(t), func(a *Auditor) {
				if strings.Contains(tt.want, "head-") {
					a.Patience = 10 * time.Second // a MiB takes its time
				}
			}, only...).Results {
				grades[r.ID] = r.Grade
				t.Log(r.ID, r.Grade, r.Evidence)
			}
			for word := range strings.SplitSeq(tt.want, ", ") {
				if grade, id, _ := strings.Cut(word, " "); grades[id] != probe.Grade(grade) {
					t.Errorf("%s: %s, want %s", id, grades[id], grade)
				}
			}
		})
	}
}

// A failure over HTTP/2 shows the frames that it rests on.
func TestFramesAreShown(t *testing.T) {
	r := auditOf(t, "http://"+badHTTP2(t, false), nil, "h2-reset", "h2-bulk").Results
	for _, result := range r {
		sent, received := string(result.Sent), string(result.Received)
		if result.Grade != probe.Fail || !strings.HasPrefix(sent, "HEADERS") || !strings.HasPrefix(received, "HEADERS") || strings.Contains(received, "SETTINGS") {
			t.Errorf("%s %s: sent %q, received %q", result.Grade, result.ID, sent, received)
		}
	}
}

// The report states the limits that were found: a size, and times.
func TestLimitsAreTold(t *testing.T) {
	t.Parallel()
	limited := bad{relay: idle, refuses: func(head string) string {
		if len(head) > 20<<10 {
			return "HTTP/1.1 431 No\r\nContent-Length: 0\r\n\r\n"
		}
		return ""
	}}
	impatient := startServe(t, false)
	for _, tt := range []struct{ proxy, id, grade, words string }{
		{limited.start(t), "head-limit", "pass", `^heads up to about (19|20) KiB are taken, in lines of 1 KiB; above, the answer is 431$`},
		{limited.start(t), "tunnel-idle", "warn", `^it was closed after [0-9.]+m?s: the idle limit is no longer than that$`},
		{impatient, "head-slow", "pass", `^after [2-9][0-9.]*s the answer was "HTTP/1\.1 408 Request Timeout"$`},
		{impatient, "head-silent", "pass", `^after [2-9][0-9.]*s the connection was closed$`},
	} {
		t.Run(tt.id, func(t *testing.T) {
			t.Parallel()
			edit := func(a *Auditor) { a.Idle, a.Slow, a.Patience = 10*time.Second, 10*time.Second, 10*time.Second }
			if r := auditOf(t, "http://"+tt.proxy, edit, tt.id).Results[0]; string(r.Grade) != tt.grade || !regexp.MustCompile(tt.words).MatchString(r.Evidence) {
				t.Errorf("%s %q", r.Grade, r.Evidence)
			}
		})
	}
}

// The report does not say that a proxy without HTTP/2 is not a proxy.
func TestWithoutHTTP2(t *testing.T) {
	lenient := bad{}
	r := auditOf(t, "http://"+lenient.start(t), nil, "h2-tunnel").Results[0]
	if r.Grade != probe.Skip || !strings.HasPrefix(r.Evidence, "HTTP/2 is not offered: ") || strings.Contains(r.Evidence, "not an HTTP proxy") {
		t.Errorf("%s %q", r.Grade, r.Evidence)
	}
}

// A proxy that connects to the target more than once does not block the audit.
func TestTargetIsReachedTwice(t *testing.T) {
	eager := bad{late: func(far net.Conn) {
		for range 3 {
			if second, err := net.Dial("tcp", far.RemoteAddr().String()); err == nil {
				second.Close()
			}
		}
	}}
	r := auditOf(t, "http://"+eager.start(t), nil, "tunnel-client-eof", "tunnel-up")
	if len(r.Results) != 2 {
		t.Errorf("%+v", r.Results)
	}
}

// A proxy that inspects tunnels opens them, but carries nothing that it does not
// understand. One check reports that, and not every check that sends something
// through; the proxy's refusals are still checked.
func TestInspectingProxyIsAccusedOnce(t *testing.T) {
	t.Parallel()
	inspecting := bad{plain: byTarget, refuses: refuseIf("HTTP/1.1 400 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", ":0 "), relay: func(client, _ io.ReadWriter) {
		io.Copy(io.Discard, client) // waits for a TLS ClientHello
	}}
	r := auditOf(t, "http://"+inspecting.start(t), nil, "connect", "connect-carries", "connect-name", "target-port-0", "tunnel")
	for _, result := range r.Results {
		want := probe.Skip
		switch result.ID {
		case "connect", "target-port-0":
			want = probe.Pass
		case "connect-carries":
			want = probe.Fail
		}
		if result.Grade != want || want == probe.Skip && !strings.Contains(result.Evidence, "nothing goes through: it may look into tunnels") {
			t.Errorf("%s: %s %q, want %s", result.ID, result.Grade, result.Evidence, want)
		}
	}
}

// The evidence of a smuggled request is that request, as the target received it.
func TestSmuggledRequestIsShown(t *testing.T) {
	reader := bad{plain: blind, reads: true, refuses: refusesSome("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")}
	r := auditOf(t, "http://"+reader.start(t), nil, "refusal-smuggle")
	if got := r.Results[0]; got.Grade != probe.Fail || !strings.Contains(got.Evidence, `/hidden HTTP/1.1\r\nHost: 127.0.0.1:`) {
		t.Errorf("%s %q", got.Grade, got.Evidence)
	}
}

// A proxy that does not answer has broken no rule yet: it may be waiting for a target
// that does not answer.
func TestSilentProxyIsInconclusive(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := auditOf(t, "http://"+l.Addr().String(), nil, "connect")
	if r.Failed() || r.Results[0].Grade != probe.Skip || !strings.Contains(r.Results[0].Evidence, "nothing came in time") {
		t.Errorf("%+v", r.Results[0])
	}
}
