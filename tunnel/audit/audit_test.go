package audit

import (
	"bytes"
	"encoding/xml"
	"flag"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/listen"
	"culvert/tunnel/policy"
	"culvert/tunnel/probe"
	"culvert/tunnel/proxy"
	"culvert/tunnel/terminal"
)

const (
	testPatience = 400 * time.Millisecond
	testQuiet    = 40 * time.Millisecond
	testBulk     = 1 << 20
)

// auditOf runs checks against a proxy, all of them if only is empty.
func auditOf(t *testing.T, proxy string, edit func(*Auditor), only ...string) *Report {
	t.Helper()
	route, err := tunnel.ParseRoute(proxy)
	if err != nil {
		t.Fatal(err)
	}
	a := &Auditor{Client: &client.Client{Route: route}, Patience: testPatience, Quiet: testQuiet, Bulk: testBulk, Only: only}
	if edit != nil {
		edit(a)
	}
	r, err := a.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// startServe starts a Server that allows the first pattern in allow, or everything. If
// asks is set, it wants ada's password.
func startServe(t *testing.T, asks bool, allow ...string) string {
	t.Helper()
	all, err := policy.ParsePattern(strings.Join(append(allow, "*:*")[:1], ""))
	if err != nil {
		t.Fatal(err)
	}
	s := &proxy.Server{Policy: policy.Policy{Allow: []policy.Pattern{all}}, HeaderTimeout: 2 * time.Second}
	if asks {
		s.Verifier = onlyAda{}
	}
	return serveBy(t, s)
}

// serveBy starts a Server for the length of the test, and returns its address.
func serveBy(t *testing.T, s *proxy.Server) string {
	t.Helper()
	spec, err := listen.Parse("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := spec.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-served })
	return l.Addr().String()
}

type onlyAda struct{}

func (onlyAda) Verify(user, password string) bool { return user == "ada" && password == "lovelace" }

// TestMain lets more of the parallel tests run at once than there are processors,
// since they mostly wait for timeouts. A -parallel flag overrides that; while fuzzing
// it is the number of processes.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" || f.Name == "test.fuzz" })
	if most := 8; !given && runtime.GOMAXPROCS(0) < most {
		_ = flag.Set("test.parallel", strconv.Itoa(most))
	}
	os.Exit(m.Run())
}

// passed holds the checks that some proxy of these tests passed, faulted those that
// some proxy with faults did not pass.
var passed, faulted checkSet

type checkSet struct {
	mu  sync.Mutex
	ids map[string]bool
}

func (s *checkSet) add(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids == nil {
		s.ids = make(map[string]bool)
	}
	s.ids[id] = true
}

// serve passes every check, including those that are off by default and those about
// credentials.
func TestServePassesEveryCheck(t *testing.T) {
	for _, tt := range []struct {
		name, proxy string
	}{
		{"open", "http://" + startServe(t, false)},
		{"with credentials", "http://ada:lovelace@" + startServe(t, true)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := auditOf(t, tt.proxy, func(a *Auditor) { a.Idle, a.Slow, a.Patience = 10*time.Millisecond, 10*time.Second, 10*time.Second })
			for _, result := range r.Results {
				switch {
				case result.Grade == probe.Pass:
					passed.add(result.ID)
				case noIPv6(result):
					passed.add(result.ID)
					faulted.add(result.ID)
				case result.Grade != probe.Skip || !strings.Contains(result.ID, "-407"):
					t.Errorf("%s: %s %s", result.ID, result.Grade, result.Evidence)
				}
			}
			if r.Failed() {
				t.Error("it is said to have failed")
			}
			var text bytes.Buffer
			r.WriteJSON(&text)
			if strings.Contains(text.String(), "lovelace") || strings.Contains(text.String(), "YWRhOmxvdmVsYWNl") {
				t.Error("the report has the password")
			}
		})
	}
}

// noIPv6 reports whether a check was skipped because this machine has no IPv6.
func noIPv6(r Result) bool {
	return r.Grade == probe.Skip && strings.Contains(r.Evidence, "no IPv6")
}

// fault is a proxy with faults and the checks that it must not pass.
type fault struct {
	name  string
	proxy bad
	ids   string
}

func faults() []fault {
	return []fault{
		{"200 to everything", bad{refuses: func(head string) string {
			if strings.Contains(head, "garbage") || strings.Contains(head, "\x16\x03") || strings.HasPrefix(head, "GET /") {
				return "HTTP/1.1 200 OK\r\n\r\n"
			}
			return ""
		}, plain: blind}, `target host-missing host-twice host-invalid method-case version-missing version-2 version-odd field-space-colon
		field-no-colon length-on-connect coding-on-connect length-and-coding lengths-differ length-invalid coding-unknown garbage tls-in-clear
		head-limit refusal-unknown-name plain-origin-form-in`},
		{"no answer", bad{refuses: func(head string) string {
			if strings.Contains(head, "X-A:") || strings.Contains(head, "\r\n b") {
				return "not HTTP"
			}
			return ""
		}}, "field-nul field-bare-cr field-fold"},
		{"a 2xx full of faults", bad{reply: "HTTP/1.0 200 OK\nContent-Length: 5\nTransfer-Encoding: chunked\n\n", refuses: refuseIf("HTTP/1.1 400 No\r\n\r\n", ":0 ")}, "connect-2xx-head connect-2xx-length connect-2xx-coding connect-2xx-version"},
		{"a 2xx that waits", bad{late: afterTheFirst(func(far net.Conn) {
			far.SetReadDeadline(time.Now().Add(2 * testPatience))
			far.Read(make([]byte, 1))
		})}, "connect-at-once"},
		{"particular", bad{refuses: func(head string) string {
			for _, odd := range []string{"HTTP/1.0\r\n", "ocalhost", "LOCALHOST", "[::1]", "elsewhere", "X-Field"} {
				if strings.Contains(head, odd) || strings.HasPrefix(head, "\r\n") {
					if strings.Contains(strings.ToLower(odd), "ocalhost") {
						return "HTTP/1.1 400 No\r\n\r\n" // as 500 would be the resolver's
					}
					return "HTTP/1.1 500 No\r\n\r\n"
				}
			}
			return ""
		}}, "connect-other-host connect-http10 connect-upper-case connect-name connect-root-dot connect-ipv6 leading-line head-lines head-8k"},
		{"mangled up", bad{relay: mangledUp}, "connect-carries connect-no-fields head-bytewise tunnel-all-bytes tunnel-http-inside tunnel-early tunnel-up tunnel-both tunnel-client-eof tunnel-send-after-eof tunnel-parallel"},
		{"mangled down", bad{relay: mangledDown}, "tunnel-greeting tunnel-down tunnel-both tunnel-answer-after-eof tunnel-target-eof"},
		{"broken", bad{refuses: func(string) string { return "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n" }}, "connect"},
		{"deaf", bad{relay: deaf}, "tunnel-target-closes tunnel-target-gone tunnel-target-resets tunnel-client-closes tunnel-client-resets"},
		{"slow", bad{relay: sluggish}, "tunnel-small"},
		{"patient, and plain about ends", bad{}, "head-slow head-silent tunnel-reset-seen"},
		{"a status that is no list", bad{refuses: refusesSome("HTTP/1.1 502 No\r\nProxy-Status: x; error=\"\r\nContent-Length: 0\r\n\r\n")}, "refusal-status-syntax"},
		{"idle", bad{relay: idle}, "tunnel-idle"},
		{"reads on", bad{plain: byTarget, reads: true, refuses: refusesSome("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")},
			"refusal-closes refusal-400-closes refusal-smuggle refusal-400-smuggle refusal-proxy-status"},
		{"a sloppy refusal", bad{refuses: func(head string) string {
			if open, _ := canConnect(head); open {
				return ""
			}
			<-time.After(1100 * time.Millisecond)
			return "HTTP/1.1 500 No\nContent-Length: 1000\n\n" + head
		}}, "refusal-framed refusal-head refusal-code refusal-prompt refusal-no-echo refusal-proxy-status"},
		{"a fault of its own above 8 KiB", bad{plain: blind, refuses: above8K("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")}, "head-too-large plain-target-too-long"},
		{"a refusal that is reset", bad{refuses: refusesSome("HTTP/1.1 502 No\r\nContent-Length: 5\r\n\r\n"), lingers: func(c net.Conn) { reset(c) }}, "refusal-readable"},
		{"blind", bad{plain: blind}, `plain-origin-form plain-host plain-via-request plain-via-appended plain-via-reply plain-connection plain-hop-by-hop plain-credentials
		plain-reply-connection plain-keep-alive-alone plain-length-and-coding plain-lengths-differ plain-space-colon plain-nul plain-bare-cr plain-fold
		plain-host-missing plain-reply-both plain-max-forwards plain-bad-chunk`},
		{"by itself", bad{plain: byItself}, `plain-keep-alive plain-expect plain-content-length plain-chunked plain-trailers plain-reply-chunked plain-reply-close plain-head plain-1xx
		plain-method plain-upgrade`},
	}
}

// afterTheFirst calls late for every tunnel but the first, by which the audit finds
// out what it can try.
func afterTheFirst(late func(net.Conn)) func(net.Conn) {
	var n atomic.Int32
	return func(far net.Conn) {
		if n.Add(1) > 1 {
			late(far)
		}
	}
}

// byTarget answers a plain request by itself, after connecting to the origin.
func byTarget(conn net.Conn, head string) {
	if open, port := canConnect(head); open {
		far, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			far.Close()
		}
	}
	io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nxx")
}

// canConnect reports whether something listens on the port in the first line of a
// head.
func canConnect(head string) (bool, string) {
	first, _, _ := strings.Cut(strings.TrimSpace(head), " HTTP/")
	port := portInTarget.FindStringSubmatch(first)
	if port == nil {
		return false, ""
	}
	far, err := net.Dial("tcp", "127.0.0.1:"+port[1])
	if err != nil {
		return false, port[1]
	}
	far.Close()
	return true, port[1]
}

// refusesSome refuses the targets to which it cannot connect.
func refusesSome(reply string) func(string) string {
	return func(head string) string {
		if open, _ := canConnect(head); open {
			return ""
		}
		return reply
	}
}

func TestFaultsAreFound(t *testing.T) {
	for _, tt := range faults() {
		for _, id := range strings.Fields(tt.ids) {
			t.Run(tt.name+"/"+id, func(t *testing.T) {
				t.Parallel()
				wantFaulted(t, "http://"+tt.proxy.start(t), []string{id})
			})
		}
	}
	t.Run("over HTTP/2", func(t *testing.T) {
		t.Parallel()
		wantFaulted(t, "http://"+badHTTP2(t, false), strings.Fields("h2-tunnel h2-greeting h2-bulk h2-answer-after-end h2-end-down h2-reset h2-refusal-alone h2-parallel"))
	})
	t.Run("up, over HTTP/2", func(t *testing.T) {
		t.Parallel()
		wantFaulted(t, "http://"+badHTTP2(t, true), []string{"h2-end-up", "h2-bulk-up"})
	})
	t.Run("lax, over HTTP/2", func(t *testing.T) {
		t.Parallel()
		wantFaulted(t, "http://"+laxHTTP2(t, ""), strings.Fields("h2-2xx-length h2-2xx-fields h2-scheme-path h2-no-authority h2-no-port"))
	})
	t.Run("401 over HTTP/2", func(t *testing.T) {
		t.Parallel()
		wantFaulted(t, "http://ada:lovelace@"+laxHTTP2(t, "401"), []string{"h2-407"})
	})
	for name, challenge := range map[string]string{"401 for 407": "HTTP/1.1 401 No\r\n", "no challenge": "HTTP/1.1 407 No\r\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asks := bad{plain: byTarget, reads: true, refuses: func(head string) string {
				if strings.Contains(head, "Basic YWRhOmxvdmVsYWNl") || strings.HasPrefix(head, "GET") {
					return ""
				}
				return challenge + "Content-Length: 0\r\n\r\n"
			}}
			wantFaulted(t, "http://ada:lovelace@"+asks.start(t), []string{"refusal-407", "refusal-407-smuggle", "refusal-407-closes"})
		})
	}
}

// wantFaulted runs checks against a proxy that must pass none of them.
func wantFaulted(t *testing.T, proxy string, only []string) {
	t.Helper()
	r := auditOf(t, proxy, func(a *Auditor) { a.Idle, a.Slow = 50*time.Millisecond, 100*time.Millisecond }, only...)
	for _, result := range r.Results {
		if noIPv6(result) {
			continue
		}
		if result.Grade == probe.Pass || result.Grade == probe.Skip || result.Evidence == "" {
			t.Errorf("%s: %s %q", result.ID, result.Grade, result.Evidence)
		}
		faulted.add(result.ID)
	}
}

// A check that no proxy passes, or that none fails, is useless.
func TestEveryCheckIsTriedBothWays(t *testing.T) {
	if len(passed.ids) == 0 || len(faulted.ids) == 0 {
		t.Skip("the tests that try them did not run")
	}
	all := 0
	ids := map[string]bool{}
	for _, g := range groups {
		for _, c := range g.checks {
			all++
			if ids[c.id] || !passed.ids[c.id] || !faulted.ids[c.id] {
				t.Errorf("%s: twice %t, passed %t, faulted %t", c.id, ids[c.id], passed.ids[c.id], faulted.ids[c.id])
			}
			ids[c.id] = true
		}
	}
	if all < 60 {
		t.Errorf("%d checks", all)
	}
}

// On a terminal the text is broken between words, except the bytes.
func TestReportFits(t *testing.T) {
	r := &Report{Proxy: "http://p.example:3128", Identity: []string{strings.Repeat("Via: it ", 20) + "end"}, Results: []Result{
		{ID: "connect-2xx-length", Group: groups[0].name, Title: strings.Repeat("a title ", 8) + "end", RFC: "RFC 9110, section 9.3.6", Level: must, Grade: probe.Warn, Evidence: strings.Repeat("evidence ", 50) + "end"},
	}}
	for _, g := range groups {
		for _, c := range g.checks {
			r.Results = append(r.Results, Result{ID: c.id, Group: g.name, Title: c.title, RFC: c.rfc, Level: c.level, Grade: probe.Skip, Evidence: "there is no tunnel for the reason that there is none"})
		}
	}
	r.sum()
	var piped bytes.Buffer
	r.WriteText(&piped, terminal.Style{Width: 40})
	for _, width := range []int{40, 60, 80, 120} {
		var text bytes.Buffer
		r.WriteText(&text, terminal.Style{Width: width, Wrap: true})
		for line := range strings.Lines(text.String()) {
			if len(line) > width+1 {
				t.Errorf("at %d: %q", width, line)
			}
		}
		if strings.Join(strings.Fields(text.String()), " ") != strings.Join(strings.Fields(piped.String()), " ") || strings.Count(piped.String(), "\n") > 20 {
			t.Errorf("at %d:\n%s\nnot\n%s", width, &text, &piped)
		}
	}
}

// A report can be written as text, JSON, JUnit and Markdown, read back from JSON, and
// compared.
func TestReportForms(t *testing.T) {
	good := auditOf(t, "http://"+startServe(t, false), nil, "head", "connect")
	lenient := bad{}
	broken := auditOf(t, "http://"+lenient.start(t), nil, "head", "connect")
	if good.Failed() || !broken.Failed() {
		t.Errorf("failed: %t, %t", good.Failed(), broken.Failed())
	}
	var text, doc, junit, table, compared bytes.Buffer
	broken.WriteText(&text, terminal.Style{})
	for _, want := range []string{"fail  host-missing", "> CONNECT 127.0.0.1:", `< HTTP/1.1 200 OK\r\n`, "verdict: "} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, &text)
		}
	}
	broken.WriteJSON(&doc)
	if back, err := ReadReport(&doc); err != nil || len(back.Results) != len(broken.Results) || back.verdict() != broken.verdict() {
		t.Errorf("%v", err)
	}
	broken.WriteJUnit(&junit)
	var suite junitSuite
	if err := xml.Unmarshal(junit.Bytes(), &suite); err != nil || suite.Tests != len(broken.Results) || suite.Failures == 0 {
		t.Errorf("%v: %d tests, %d failures", err, suite.Tests, suite.Failures)
	}
	broken.WriteMarkdown(&table)
	if lines := strings.Count(table.String(), "\n| "); lines != len(broken.Results)+1 {
		t.Errorf("%d rows, want %d", lines, len(broken.Results)+1)
	}
	if !strings.Contains(table.String(), "\n### host-missing\n") || !strings.Contains(table.String(), "\n    > CONNECT 127.0.0.1:") {
		t.Errorf("no evidence in\n%s", &table)
	}
	c := Compare(good, broken)
	if c.WriteText(&compared, terminal.Style{}); !c.Worse || !strings.Contains(compared.String(), "pass  fail  host-missing") {
		t.Errorf("the comparison, worse %t:\n%s", c.Worse, &compared)
	}
	if c = Compare(broken, good); c.Worse || len(c.Differences) == 0 {
		t.Errorf("mended is worse: %t, %d differ", c.Worse, len(c.Differences))
	}
	if c = Compare(good, good); c.Worse || len(c.Differences) != 0 {
		t.Error("an audit differs from itself")
	}
	if _, err := ReadReport(strings.NewReader("{}")); err == nil {
		t.Error("any JSON is an audit")
	}
}

// A check that cannot be tried is skipped, with the reason.
func TestUnmetNeeds(t *testing.T) {
	denies := bad{refuses: func(string) string { return "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n" }}
	r := auditOf(t, "http://"+denies.start(t), nil)
	for _, result := range r.Results {
		if skipped := result.Grade == probe.Skip && strings.Contains(result.Evidence, "403"); !skipped && !strings.Contains("garbage tls-in-clear refusal-unknown-name plain-origin-form-in", result.ID) {
			t.Errorf("%s: %s %q", result.ID, result.Grade, result.Evidence)
		}
	}
	if err := CheckOnly([]string{"nonsense"}); err == nil {
		t.Error("a check that is none is taken")
	}
}
