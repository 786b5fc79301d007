package tunnel

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// proxyServer is a proxy.Server, as far as the harness uses it: package proxy's own
// tests could not import a harness that imports proxy.
type proxyServer interface {
	Serve(net.Listener) error
	Close() error
	Open() int
	Pseudonym() string
}

// runningProxy is a proxyServer that listens, and its access log.
type runningProxy struct {
	testing.TB
	addr      string
	pseudonym string
	log       *accessLog
	served    chan error // what Serve returned
}

// startProxy serves l until the end of the test. The proxy must then return ended,
// and have given every slot back. The caller has set log as its access log.
func startProxy(tb testing.TB, s proxyServer, l net.Listener, log *accessLog, ended error) *runningProxy {
	tb.Helper()
	ts := &runningProxy{TB: tb, addr: l.Addr().String(), pseudonym: s.Pseudonym(), log: log, served: make(chan error, 1)}
	go func() { ts.served <- s.Serve(l) }()
	tb.Cleanup(func() {
		s.Close()
		if err := <-ts.served; !errors.Is(err, ended) {
			tb.Errorf("Serve returned %v, want %v", err, ended)
		}
		if open := s.Open(); open != 0 {
			tb.Errorf("%d slots are taken after Close", open)
		}
	})
	return ts
}

// in returns the same proxy for a subtest.
func (ts *runningProxy) in(tb testing.TB) *runningProxy {
	return &runningProxy{TB: tb, addr: ts.addr, pseudonym: ts.pseudonym, log: ts.log}
}

// tunnelEstablished is the only 2xx that a CONNECT is answered with.
const tunnelEstablished = "HTTP/1.1 200 Connection established\r\n\r\n"

// dial connects to the server; every wait on the conn is bounded.
func (ts *runningProxy) dial() net.Conn {
	ts.Helper()
	network := "tcp"
	if strings.HasPrefix(ts.addr, "/") {
		network = "unix"
	}
	return dialTo(ts, network, ts.addr)
}

// connectHead is a CONNECT request head with further field lines.
func connectHead(target string, fields ...string) string {
	head := "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n"
	for _, f := range fields {
		head += f + "\r\n"
	}
	return head + "\r\n"
}

// open opens a tunnel, and takes exactly the 2xx off the conn.
func (ts *runningProxy) open(target string, fields ...string) net.Conn {
	ts.Helper()
	conn := ts.dial()
	send(ts, conn, connectHead(target, fields...))
	expect(ts, conn, tunnelEstablished)
	return conn
}

// answer is one reply, and all there was of it.
type answer struct {
	status int
	header http.Header
	body   string
	raw    string
}

// ask sends text on a conn of its own and reads to the orderly end, which must
// hold one answer and nothing else.
func (ts *runningProxy) ask(text string) answer {
	ts.Helper()
	conn := ts.dial()
	send(ts, conn, text)
	return readAnswer(ts, conn)
}

func readAnswer(tb testing.TB, conn net.Conn) answer {
	tb.Helper()
	raw, err := io.ReadAll(conn)
	if err != nil {
		tb.Fatalf("read %.200q and then %v, want an answer and an orderly end", raw, err)
	}
	br := bufio.NewReader(bytes.NewReader(raw))
	reply, err := http.ReadResponse(br, nil)
	if err != nil {
		tb.Fatalf("%.200q is no answer: %v", raw, err)
	}
	body, err := io.ReadAll(reply.Body)
	if err != nil {
		tb.Fatalf("%.200q is cut short: %v", raw, err)
	}
	if rest, _ := io.ReadAll(br); len(rest) > 0 {
		tb.Fatalf("behind the answer there is %.200q", rest)
	}
	return answer{reply.StatusCode, reply.Header, string(body), string(raw)}
}

// refused sends text, which must be refused as RULES 16 demands it of every
// refusal, and with this status, Proxy-Status error and record.
func (ts *runningProxy) refused(text string, status int, token string) answer {
	ts.Helper()
	a := ts.ask(text)
	ts.checkRefusal(a, status, token)
	return a
}

func (ts *runningProxy) checkRefusal(a answer, status int, token string) record {
	ts.Helper()
	if a.status != status {
		ts.Errorf("status %d, want %d", a.status, status)
	}
	members := parseProxyStatus(a.header.Values("Proxy-Status"))
	if len(members) != 1 || members[0].Name != ts.pseudonym || members[0].Error != token {
		ts.Errorf("Proxy-Status %q, want %s; error=%s", a.header.Values("Proxy-Status"), ts.pseudonym, token)
	}
	if _, err := http.ParseTime(a.header.Get("Date")); err != nil {
		ts.Errorf("Date: %v", err)
	}
	if !strings.Contains(a.raw, "\r\nConnection: close\r\n") { // net/http takes the field away
		ts.Errorf("there is no Connection: close in %q", a.raw)
	}
	if got := a.header.Get("Content-Type"); !strings.HasPrefix(got, "text/plain") {
		ts.Errorf("Content-Type: %q", got)
	}
	if len(a.body) > 300 || !strings.HasSuffix(a.body, "\n") || strings.Count(a.body, "\n") != 1 {
		ts.Errorf("body %q, want one short line", a.body)
	}
	rec := ts.record(eventRequest)
	rec.wantNumber(ts, "status", status)
	rec.want(ts, "error", token)
	rec.want(ts, "level", "WARN")
	return rec
}

// record waits for the next record of an event; those of other events are
// passed over.
func (ts *runningProxy) record(event string) record {
	ts.Helper()
	return ts.log.next(ts, event)
}

// oneUser is a Verifier that knows one pair.
type oneUser struct{ user, password string }

func (u oneUser) Verify(user, password string) bool {
	return user == u.user && password == u.password
}
