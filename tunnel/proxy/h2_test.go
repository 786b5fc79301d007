package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/h2"
	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/policy"
	"culvert/tunnel/tunneltest"

	"golang.org/x/net/http2"
)

// transport2 returns an independent HTTP/2 client, the standard library's. It sends all
// requests to the Server, without TLS if config is nil.
func (ts *testServer) transport2(config *tls.Config) *http.Transport {
	t := &http.Transport{TLSClientConfig: config, Protocols: new(http.Protocols), DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", ts.Addr)
	}}
	t.Protocols.SetUnencryptedHTTP2(config == nil)
	t.Protocols.SetHTTP2(config != nil)
	ts.Cleanup(t.CloseIdleConnections)
	return t
}

// fetched is the reply to a request, or why there is none.
type fetched struct {
	*http.Response
	body string
	err  error // of the body
}

func (ts *testServer) fetch2(r *http.Request) fetched {
	ts.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), testkit.Patience)
	ts.Cleanup(cancel)
	reply, err := ts.transport2(nil).RoundTrip(r.WithContext(ctx))
	if err != nil {
		ts.Fatal(err)
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	return fetched{reply, string(body), err}
}

func newRequest(tb testing.TB, method, url string, body io.Reader) *http.Request {
	tb.Helper()
	r, err := http.NewRequest(method, url, body)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// unsized hides the length of a body.
type unsized struct{ io.Reader }

// Plain requests over HTTP/2 reach the origin as HTTP/1.1, under the same rules as those
// of HTTP/1 clients.
func TestPlainOverHTTP2(t *testing.T) {
	ts := startServer(t, &Server{Name: "here"})
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		w.Header().Set("X-Saw", fmt.Sprintf("%s %s %s length=%d body=%d/%v via=%q auth=%q cookie=%q trailer=%q te=%q",
			r.Proto, r.Method, r.URL, r.ContentLength, len(body), err, r.Header.Get("Via"),
			r.Header.Get("Proxy-Authorization"), r.Header.Get("Cookie"), r.Trailer.Get("X-Sum"), r.Header.Get("Te")))
		switch r.URL.Path {
		case "/none":
			w.WriteHeader(http.StatusNoContent)
		case "/trailer":
			w.Header().Set("Trailer", "X-End")
			io.WriteString(w, "with a trailer")
			w.Header().Set("X-End", "it was")
		case "/hints":
			w.Header().Set("Link", "</style.css>")
			w.WriteHeader(http.StatusEarlyHints)
			io.WriteString(w, "hinted")
		case "/large":
			io.Copy(w, io.LimitReader(zeroReader{}, 5<<20))
		case "/cut":
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, "half")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		default:
			w.Header().Set("Connection", "X-Hop")
			w.Header().Set("X-Hop", "1")
			io.WriteString(w, "hello")
		}
	}))
	t.Cleanup(origin.Close)
	saw := func(method, path, rest string) string { return "HTTP/1.1 " + method + " " + path + " " + rest }
	const via = ` via="2 here" auth="" `
	for _, tt := range []struct {
		name, method, path string
		body               io.Reader
		prepare            func(r *http.Request)
		status             int
		saw, want          string
		up, down           int
	}{
		{"get", "GET", "/?a=b", nil, nil, 200, `length=0 body=0/<nil>` + via + `cookie="" trailer="" te=""`, "hello", 0, 5},
		{"head", "HEAD", "/", nil, nil, 200, "", "", 0, 0},
		{"sized content", "POST", "/", strings.NewReader("12345"), nil, 200, `length=5 body=5/<nil>` + via + `cookie="" trailer="" te=""`, "hello", 5, 5},
		{"streamed content", "POST", "/", unsized{strings.NewReader("12345")}, func(r *http.Request) {
			r.Trailer = http.Header{"X-Sum": {"15"}}
		}, 200, `length=-1 body=5/<nil>` + via + `cookie="" trailer="15" te=""`, "hello", 5, 5},
		{"no content", "GET", "/none", nil, nil, 204, "", "", 0, 0},
		{"credentials and cookies", "GET", "/", nil, func(r *http.Request) {
			r.Header.Set("Proxy-Authorization", "Basic xyz")
			r.Header["Cookie"] = []string{"a=1; b=2"}
			r.Header.Set("Te", "trailers")
		}, 200, `length=0 body=0/<nil>` + via + `cookie="a=1; b=2" trailer="" te="trailers"`, "hello", 0, 5},
		{"large", "GET", "/large", nil, nil, 200, "", strings.Repeat("\x00", 5<<20), 0, 5 << 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRequest(t, tt.method, origin.URL+tt.path, tt.body)
			if tt.prepare != nil {
				tt.prepare(r)
			}
			got := ts.fetch2(r)
			if got.StatusCode != tt.status || got.body != tt.want || got.err != nil {
				t.Errorf("got %d %.60q, %v; want %d %.60q", got.StatusCode, got.body, got.err, tt.status, tt.want)
			}
			if tt.saw != "" && got.Header.Get("X-Saw") != saw(tt.method, tt.path, tt.saw) {
				t.Errorf("the origin saw %s, want %s", got.Header.Get("X-Saw"), saw(tt.method, tt.path, tt.saw))
			}
			if got.Header.Get("Via") != "1.1 here" || got.Header.Get("X-Hop") != "" || got.Header.Get("Date") == "" {
				t.Errorf("the answer's fields: %v", got.Header)
			}
			rec := ts.NextRecord(accesslog.EventRequest)
			rec.Want(t, "protocol", "http/2")
			rec.Want(t, "method", tt.method)
			rec.WantNumber(t, "status", tt.status)
			rec.WantNumber(t, "up", tt.up)
			rec.WantNumber(t, "down", tt.down)
			rec.WantAbsent(t, "error")
		})
	}
	t.Run("trailer", func(t *testing.T) {
		got := ts.fetch2(newRequest(t, "GET", origin.URL+"/trailer", nil))
		if got.body != "with a trailer" || got.Trailer.Get("X-End") != "it was" {
			t.Errorf("got %q and %v", got.body, got.Trailer)
		}
		ts.NextRecord(accesslog.EventRequest)
	})
	t.Run("early hints", func(t *testing.T) {
		var link string
		r := newRequest(t, "GET", origin.URL+"/hints", nil)
		got := ts.fetch2(r.WithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, h textproto.MIMEHeader) error { link = h.Get("Link"); return nil },
		})))
		if got.body != "hinted" || link != "</style.css>" {
			t.Errorf("got %q with hints %q", got.body, link)
		}
		ts.NextRecord(accesslog.EventRequest)
	})
	t.Run("origin breaks off", func(t *testing.T) {
		got := ts.fetch2(newRequest(t, "GET", origin.URL+"/cut", nil))
		var reset http2.StreamError
		if !errors.As(got.err, &reset) || reset.Code != http2.ErrCodeInternal || got.body != "half" {
			t.Errorf("got %q and %v, want half of it and INTERNAL_ERROR", got.body, got.err)
		}
		ts.NextRecord(accesslog.EventRequest).Want(t, "error", "http_response_incomplete")
	})
}

type zeroReader struct{}

func (zeroReader) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// Refusals of plain requests are the same as over HTTP/1.
func TestPlainRefusalsOverHTTP2(t *testing.T) {
	ts := startServer(t, &Server{Policy: policy.Policy{Allow: []policy.Pattern{proxytest.MustPattern(t, "*:80")}}})
	for _, tt := range []struct {
		url, token, detail string
		status             int
	}{
		{"http://example.test:25/", "http_request_denied", "destination port 25 is not allowed here", 403},
	} {
		got := ts.fetch2(newRequest(t, "GET", tt.url, nil))
		members := tunnel.ParseProxyStatus(got.Header.Values("Proxy-Status"))
		if got.StatusCode != tt.status || len(members) != 1 || members[0].Error != tt.token || members[0].Details != tt.detail || !strings.HasSuffix(got.body, tt.detail+"\n") {
			t.Errorf("%s: %d %v %q", tt.url, got.StatusCode, got.Header, got.body)
		}
		rec := ts.NextRecord(accesslog.EventRequest)
		rec.WantNumber(t, "status", tt.status)
		rec.Want(t, "protocol", "http/2")
	}
}

// client2 is an HTTP/2 client that can send any head.
func (ts *testServer) client2() *h2.Conn {
	ts.Helper()
	conn := ts.Dial()
	conn.SetDeadline(time.Time{})
	c := h2.Client(conn, h2.Config{})
	ts.Cleanup(func() { c.Close(); c.Wait() })
	return c
}

func (ts *testServer) open2(c *h2.Conn, end bool, pairs ...string) *h2.Stream {
	ts.Helper()
	var fields []h2.Field
	for i := 0; i < len(pairs); i += 2 {
		fields = append(fields, h2.Field{Name: pairs[i], Value: pairs[i+1]})
	}
	s, err := c.Open(ts.Context(), fields, end)
	if err != nil {
		ts.Fatal(err)
	}
	s.SetDeadline(time.Now().Add(testkit.Patience))
	ts.Cleanup(func() { s.Close() })
	return s
}

func (ts *testServer) head2(s *h2.Stream) h2.Head {
	ts.Helper()
	head, err := s.ReadHead(ts.Context())
	if err != nil {
		ts.Fatal(err)
	}
	return head
}

// Over HTTP/2 a malformed request is answered on its stream, and the
// next stream is served.
func TestStreamsThatAreMalformed(t *testing.T) {
	ts := startServer(t, &Server{Resolver: testkit.NeverResolve(t)})
	c := ts.client2()
	for _, tt := range []struct {
		name   string
		fields []string
		status int
	}{
		{"no port", []string{":method", "CONNECT", ":authority", "example.test"}, 400},
		{"userinfo", []string{":method", "CONNECT", ":authority", "a@example.test:443"}, 400},
		{"path", []string{":method", "CONNECT", ":authority", "example.test:443/"}, 400},
		{"port 0", []string{":method", "CONNECT", ":authority", "example.test:0"}, 400},
		{"wrapped port", []string{":method", "CONNECT", ":authority", "example.test:4294967739"}, 400},
		{"octal address", []string{":method", "CONNECT", ":authority", "0177.0.0.1:443"}, 400},
		{"content-length", []string{":method", "CONNECT", ":authority", "example.test:443", "content-length", "5"}, 400},
		{"userinfo in plain HTTP", []string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "u:p@example.test"}, 400},
		{"https", []string{":method", "GET", ":scheme", "https", ":path", "/", ":authority", "example.test"}, 501},
		{"unknown protocol", []string{":method", "CONNECT", ":protocol", "connect-udp", ":scheme", "http", ":path", "/", ":authority", "example.test"}, 501},
		{"wss", []string{":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":path", "/", ":authority", "example.test"}, 501},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := ts.open2(c, false, tt.fields...)
			head := ts.head2(s)
			if head.Status() != tt.status || !strings.Contains(head.Get("proxy-status"), "error=http_request_error") {
				t.Errorf("the answer is %v", head.Fields)
			}
			if body, err := io.ReadAll(s); err != nil || len(body) == 0 {
				t.Errorf("the body is %q, %v", body, err)
			}
			rec := ts.NextRecord(accesslog.EventRequest)
			rec.WantNumber(t, "status", tt.status)
			rec.Want(t, "protocol", "http/2")
		})
	}
}

// A request that the client gives up ends at the origin too, and the client's other
// streams go on.
func TestPlainStreamGivenUp(t *testing.T) {
	ts := startServer(t, &Server{})
	gone := make(chan struct{})
	asked := make(chan struct{})
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
		close(gone)
	}))
	t.Cleanup(origin.Close)
	c := ts.client2()
	other := ts.open2(c, false, ":method", "CONNECT", ":authority", tunneltest.Start(t, tunneltest.Echo).Addr())
	ts.head2(other)
	s := ts.open2(c, true, ":method", "GET", ":scheme", "http", ":path", "/", ":authority", strings.TrimPrefix(origin.URL, "http://"))
	testkit.Await(t, "the origin", asked)
	s.Reset(h2.CodeCancel)
	testkit.Await(t, "the request to be given up", gone)
	rec := ts.NextRecord(accesslog.EventRequest)
	rec.Want(t, "closed_by", "client")
	rec.Want(t, "error", "connection_terminated")
	testkit.Send(t, other, "x")
	testkit.Expect(t, other, "x")
}

// An extended CONNECT for a WebSocket becomes an upgrade at the origin (RFC 8441).
func TestWebSocketOverHTTP2(t *testing.T) {
	ts := startServer(t, &Server{Name: "here"})
	origin := tunneltest.StartProxy(t, tunneltest.ReadHead,
		tunneltest.Send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: chat\r\n\r\nhello"), tunneltest.Serve(tunneltest.Echo))
	c := ts.client2()
	settings, err := c.PeerSettings(t.Context())
	if err != nil || !settings.EnableConnectProtocol {
		t.Fatalf("extended CONNECT is not announced: %+v, %v", settings, err)
	}
	s := ts.open2(c, false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":path", "/chat", ":authority", origin.Addr(), "sec-websocket-version", "13")
	head := ts.head2(s)
	if head.Status() != 200 || head.Get("sec-websocket-protocol") != "chat" || head.Get("sec-websocket-accept") != "" {
		t.Errorf("the answer is %v", head.Fields)
	}
	testkit.Send(t, s, "ping")
	s.CloseWrite()
	testkit.ExpectLast(t, s, "helloping")
	asked := origin.Heads()[0]
	for _, want := range []string{"GET /chat HTTP/1.1\r\n", "\r\nConnection: Upgrade\r\n", "\r\nUpgrade: websocket\r\n", "\r\nSec-WebSocket-Key: ", "\r\nSec-Websocket-Version: 13\r\n", "\r\nVia: 2 here\r\n"} {
		if !strings.Contains(asked, want) {
			t.Errorf("the origin was asked %q, which lacks %q", asked, want)
		}
	}
	rec := ts.NextRecord(accesslog.EventClose)
	rec.Want(t, "protocol", "http/2")
	rec.WantNumber(t, "up", 4)
	rec.WantNumber(t, "down", 9)
}

// insecureHTTP2 accepts any certificate.
func insecureHTTP2() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}
}

func mustURL(tb testing.TB, s string) *url.URL {
	tb.Helper()
	u, err := url.Parse(s)
	if err != nil {
		tb.Fatal(err)
	}
	return u
}
