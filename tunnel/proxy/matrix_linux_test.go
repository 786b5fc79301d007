package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/h2"
	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/listen"
	"culvert/tunnel/relay"
)

// The matrix tests every event of a tunnel's life in every protocol between client and
// Server: the outcome must be the same. This file has the clients, and
// matrix_events_linux_test.go the events.

// matrixProtocol is a protocol between client and Server.
type matrixProtocol struct {
	name   string
	logged string // its name in records
	tls    bool
	http2  bool
}

var matrixProtocols = []matrixProtocol{
	{"h1", "http/1.1", false, false},
	{"h1+TLS", "http/1.1", true, false},
	{"h2c", "http/2", false, true},
	{"h2", "http/2", true, true},
}

// matrix is one event in one protocol.
type matrix struct {
	*testing.T
	*testServer
	protocol matrixProtocol

	mu    sync.Mutex
	conn  net.Conn // over HTTP/2: the tunnels share it until it is full
	conns *h2.Conn
	users int
}

// matrixReply is the answer to a CONNECT.
type matrixReply struct {
	status int
	header http.Header
	body   string // of a refusal
}

// matrixConn is an open tunnel.
type matrixConn interface {
	net.Conn
	CloseWrite() error
	reset()  // resets this tunnel
	vanish() // resets all tunnels of this client
}

// streamsEach is how many tunnels share an HTTP/2 connection.
const streamsEach = 100

func newMatrix(t *testing.T, protocol matrixProtocol, s *Server) *matrix {
	l := testkit.Listen(t, "127.0.0.1:0")
	if protocol.tls {
		pair, _, err := listen.SelfSigned()
		if err != nil {
			t.Fatal(err)
		}
		l = listen.NewTLS(l, &tls.Config{Certificates: []tls.Certificate{pair}})
	}
	return &matrix{T: t, testServer: startServerOn(t, s, l), protocol: protocol}
}

// connect connects to the Server, over TLS if the protocol has it.
func (m *matrix) connect() net.Conn {
	conn := testkit.Dial(m.T, "tcp", m.Addr)
	if !m.protocol.tls {
		return conn
	}
	alpn := "http/1.1"
	if m.protocol.http2 {
		alpn = "h2"
	}
	secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{alpn}})
	if err := secure.Handshake(); err != nil {
		m.T.Fatal(err)
	}
	if got := secure.ConnectionState().NegotiatedProtocol; got != alpn {
		m.T.Fatalf("ALPN has chosen %q, want %q", got, alpn)
	}
	return secure
}

// ask sends a CONNECT and early bytes, and reads the answer. The tunnel is nil if the
// CONNECT was refused.
func (m *matrix) ask(target, early string, fields ...string) (matrixReply, matrixConn) {
	m.T.Helper()
	if m.protocol.http2 {
		return m.ask2(target, early, fields)
	}
	conn := m.connect()
	testkit.Send(m.T, conn, proxytest.ConnectHead(target, fields...)+early)
	var head bytes.Buffer
	for one := make([]byte, 1); !bytes.HasSuffix(head.Bytes(), []byte("\r\n\r\n")); head.Write(one) {
		if _, err := io.ReadFull(conn, one); err != nil {
			m.T.Fatalf("after %q of an answer: %v", head.String(), err)
		}
	}
	reply, err := http.ReadResponse(bufio.NewReader(&head), &http.Request{Method: http.MethodConnect})
	if err != nil {
		m.T.Fatal(err)
	}
	got := matrixReply{status: reply.StatusCode, header: reply.Header}
	if got.status == http.StatusOK {
		return got, tunnel1{conn.(matrixHalfConn)}
	}
	body, err := io.ReadAll(conn) // to the orderly end, which RFC 9931 requires
	if err != nil {
		m.T.Errorf("behind a refusal: %v", err)
	}
	got.body = string(body)
	return got, nil
}

// ask2 is ask over HTTP/2.
func (m *matrix) ask2(target, early string, fields []string) (matrixReply, matrixConn) {
	m.T.Helper()
	list := []h2.Field{{Name: ":method", Value: "CONNECT"}, {Name: ":authority", Value: target}}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		list = append(list, h2.Field{Name: strings.ToLower(name), Value: value})
	}
	conn, shared := m.shared()
	ctx, cancel := context.WithTimeout(m.T.Context(), testkit.Patience)
	defer cancel()
	s, err := shared.Open(ctx, list, false)
	if err != nil {
		m.T.Fatal(err)
	}
	_, _ = io.WriteString(s, early) // fails if the request is refused meanwhile
	head, err := s.ReadHead(ctx)
	if err != nil {
		m.T.Fatal(err)
	}
	s.SetDeadline(time.Now().Add(testkit.Patience))
	m.T.Cleanup(func() { s.Close() })
	got := matrixReply{status: head.Status(), header: http.Header{}}
	for _, f := range head.Fields {
		got.header.Add(f.Name, f.Value)
	}
	if got.status == http.StatusOK {
		return got, tunnel2{s, conn}
	}
	body, err := io.ReadAll(s)
	if err != nil {
		m.T.Errorf("behind a refusal: %v", err)
	}
	got.body = string(body)
	return got, nil
}

// shared returns an HTTP/2 connection with room for another stream.
func (m *matrix) shared() (net.Conn, *h2.Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.users%streamsEach == 0 {
		m.conn = m.connect()
		m.conn.SetDeadline(time.Time{}) // the streams have deadlines of their own
		m.conns = h2.Client(m.conn, h2.Config{})
		m.T.Cleanup(func(c *h2.Conn) func() { return func() { c.Close(); c.Wait() } }(m.conns))
	}
	m.users++
	return m.conn, m.conns
}

// open is ask, and the tunnel must open.
func (m *matrix) open(target, early string) matrixConn {
	m.T.Helper()
	reply, conn := m.ask(target, early)
	if conn == nil {
		m.T.Fatalf("the answer is %+v", reply)
	}
	for _, name := range []string{"Content-Length", "Transfer-Encoding"} {
		if reply.header.Get(name) != "" {
			m.T.Errorf("the 2xx has %s: %q", name, reply.header.Get(name))
		}
	}
	return conn
}

type matrixHalfConn interface {
	net.Conn
	CloseWrite() error
}

// tunnel1 is a tunnel over HTTP/1.
type tunnel1 struct{ matrixHalfConn }

func (t tunnel1) reset()  { testkit.Reset(t.matrixHalfConn) }
func (t tunnel1) vanish() { t.reset() }

// tunnel2 is one over HTTP/2.
type tunnel2 struct {
	*h2.Stream
	conn net.Conn
}

func (t tunnel2) reset()  { t.Reset(h2.CodeCancel) }
func (t tunnel2) vanish() { testkit.Reset(t.conn) }

// wantReset reads to the end, which must be a reset in the protocol: of the connection,
// or of the stream with CONNECT_ERROR (RFC 9113, section 8.5).
func (m *matrix) wantReset(conn net.Conn, text string) {
	m.T.Helper()
	got, err := io.ReadAll(conn)
	var stream *h2.StreamError
	torn := neterr.Reset(err)
	if m.protocol.http2 {
		torn = errors.As(err, &stream) && stream.Remote && stream.Code == h2.CodeConnect
	}
	if !torn || string(got) != text {
		m.T.Errorf("read %.60q, %v; want %q and a reset", got, err, text)
	}
}

// wantClosed checks the next record of a tunnel.
func (m *matrix) wantClosed(by relay.ClosedBy, broken bool, up, down int) {
	m.T.Helper()
	rec := m.NextRecord(accesslog.EventClose)
	rec.Want(m.T, "protocol", m.protocol.logged)
	rec.Want(m.T, "method", "CONNECT")
	rec.Want(m.T, "closed_by", string(by))
	rec.WantNumber(m.T, "status", 200)
	rec.WantNumber(m.T, "up", up)
	rec.WantNumber(m.T, "down", down)
	if broken {
		rec.Want(m.T, "error", "connection_terminated")
	} else {
		rec.WantAbsent(m.T, "error")
	}
}

// wantRefused asks for target, which must be refused in the same words in every protocol.
func (m *matrix) wantRefused(target string, status int, token, cause string, fields ...string) matrixReply {
	m.T.Helper()
	got, _ := m.ask(target, "no request: GET / HTTP/1.1\r\n\r\n", fields...)
	want := tunnel.ProxyStatus{Name: m.server.Pseudonym(), Error: token, Details: cause}
	members := tunnel.ParseProxyStatus(got.header.Values("Proxy-Status"))
	switch {
	case got.status != status:
		m.T.Errorf("status %d, want %d", got.status, status)
	case len(members) != 1 || members[0].Name != want.Name || members[0].Error != token || members[0].Details != cause:
		m.T.Errorf("Proxy-Status %q, want %s", got.header.Values("Proxy-Status"), want)
	case !strings.HasSuffix(got.body, ": "+cause+"\n"):
		m.T.Errorf("the body is %q", got.body)
	case m.protocol.http2 && got.header.Get("Connection") != "":
		m.T.Error("there is a Connection field in HTTP/2")
	}
	rec := m.NextRecord(accesslog.EventRequest)
	rec.Want(m.T, "protocol", m.protocol.logged)
	rec.Want(m.T, "error", token)
	rec.WantNumber(m.T, "status", status)
	return got
}
