// Package proxytest runs a proxy.Server in tests: it starts one on a listener or in a
// bubble, speaks to it byte by byte, and reads its access log. Package proxy's own
// tests use it, so it cannot import proxy.
package proxytest

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/testkit"
)

// Server is the part of a proxy.Server that the harness uses.
type Server interface {
	Serve(net.Listener) error
	Close() error
	Open() int
	Pseudonym() string
}

// Proxy is a Server that serves a listener, and its access log.
type Proxy struct {
	testing.TB
	Addr      string
	Pseudonym string
	AccessLog *AccessLog
	Served    chan error // what Serve returned
}

// Start serves l until the end of the test. Serve must then return ended, and every
// slot must be free. The caller has made log the Server's access log.
func Start(tb testing.TB, s Server, l net.Listener, log *AccessLog, ended error) *Proxy {
	tb.Helper()
	ts := &Proxy{TB: tb, Addr: l.Addr().String(), Pseudonym: s.Pseudonym(), AccessLog: log, Served: make(chan error, 1)}
	go func() { ts.Served <- s.Serve(l) }()
	tb.Cleanup(func() {
		s.Close()
		if err := <-ts.Served; !errors.Is(err, ended) {
			tb.Errorf("Serve returned %v, want %v", err, ended)
		}
		if open := s.Open(); open != 0 {
			tb.Errorf("%d slots are taken after Close", open)
		}
	})
	return ts
}

// In returns the same proxy for a subtest.
func (ts *Proxy) In(tb testing.TB) *Proxy {
	return &Proxy{TB: tb, Addr: ts.Addr, Pseudonym: ts.Pseudonym, AccessLog: ts.AccessLog}
}

// Established is the only 2xx that a CONNECT is answered with.
const Established = "HTTP/1.1 200 Connection established\r\n\r\n"

// Dial connects to the proxy. Every wait on the conn is bounded.
func (ts *Proxy) Dial() net.Conn {
	ts.Helper()
	network := "tcp"
	if strings.HasPrefix(ts.Addr, "/") {
		network = "unix"
	}
	return testkit.Dial(ts, network, ts.Addr)
}

// ConnectHead returns the head of a CONNECT request with further field lines.
func ConnectHead(target string, fields ...string) string {
	head := "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n"
	for _, f := range fields {
		head += f + "\r\n"
	}
	return head + "\r\n"
}

// Open opens a tunnel, and reads the 2xx and no byte more from the conn.
func (ts *Proxy) Open(target string, fields ...string) net.Conn {
	ts.Helper()
	conn := ts.Dial()
	testkit.Send(ts, conn, ConnectHead(target, fields...))
	testkit.Expect(ts, conn, Established)
	return conn
}

// Answer is a reply, parsed and as it came.
type Answer struct {
	Status int
	Header http.Header
	Body   string
	Raw    string
}

// Ask sends text on a new conn, and reads the answer.
func (ts *Proxy) Ask(text string) Answer {
	ts.Helper()
	conn := ts.Dial()
	testkit.Send(ts, conn, text)
	return ReadAnswer(ts, conn)
}

// ReadAnswer reads the conn to its orderly end. There must be one reply and nothing
// else.
func ReadAnswer(tb testing.TB, conn net.Conn) Answer {
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
	return Answer{reply.StatusCode, reply.Header, string(body), string(raw)}
}

// Refused sends text on a new conn, and checks the refusal as CheckRefusal does.
func (ts *Proxy) Refused(text string, status int, token string) Answer {
	ts.Helper()
	a := ts.Ask(text)
	ts.CheckRefusal(a, status, token)
	return a
}

// CheckRefusal checks that an answer is a complete refusal, with this status
// and Proxy-Status error, and that the next record of a request says the same.
func (ts *Proxy) CheckRefusal(a Answer, status int, token string) Record {
	ts.Helper()
	if a.Status != status {
		ts.Errorf("status %d, want %d", a.Status, status)
	}
	members := tunnel.ParseProxyStatus(a.Header.Values("Proxy-Status"))
	if len(members) != 1 || members[0].Name != ts.Pseudonym || members[0].Error != token {
		ts.Errorf("Proxy-Status %q, want %s; error=%s", a.Header.Values("Proxy-Status"), ts.Pseudonym, token)
	}
	if _, err := http.ParseTime(a.Header.Get("Date")); err != nil {
		ts.Errorf("Date: %v", err)
	}
	if !strings.Contains(a.Raw, "\r\nConnection: close\r\n") { // net/http removes the field
		ts.Errorf("there is no Connection: close in %q", a.Raw)
	}
	if got := a.Header.Get("Content-Type"); !strings.HasPrefix(got, "text/plain") {
		ts.Errorf("Content-Type: %q", got)
	}
	if len(a.Body) > 300 || !strings.HasSuffix(a.Body, "\n") || strings.Count(a.Body, "\n") != 1 {
		ts.Errorf("body %q, want one short line", a.Body)
	}
	rec := ts.NextRecord(accesslog.EventRequest)
	rec.WantNumber(ts, "status", status)
	rec.Want(ts, "error", token)
	rec.Want(ts, "level", "WARN")
	return rec
}

// NextRecord waits for the next record of an event, and skips those of other events.
func (ts *Proxy) NextRecord(event string) Record {
	ts.Helper()
	return ts.AccessLog.Next(ts, event)
}

// OneUser is a proxy.Verifier that knows one pair.
type OneUser struct{ User, Password string }

// Verify implements proxy.Verifier.
func (u OneUser) Verify(user, password string) bool {
	return user == u.User && password == u.Password
}
