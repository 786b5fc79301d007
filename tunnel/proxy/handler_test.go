package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/clienttest"
	"culvert/tunnel/internal/h2"
	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/policy"
	"culvert/tunnel/tunneltest"
)

// startHandler serves s with a net/http server, over TLS with HTTP/2 or without.
func startHandler(t *testing.T, s *Server, secure bool) *testServer {
	t.Helper()
	foreign := httptest.NewUnstartedServer(s)
	if foreign.EnableHTTP2 = secure; secure {
		foreign.StartTLS()
	} else {
		foreign.Start()
	}
	ts := &testServer{&proxytest.Proxy{TB: t, Addr: foreign.Listener.Addr().String(), Pseudonym: s.Pseudonym(), AccessLog: proxytest.NewAccessLog()}, s}
	s.AccessLog = ts.AccessLog.Logger()
	if s.Policy.Allow == nil {
		s.Policy.Allow = []policy.Pattern{proxytest.MustPattern(t, "*:*")}
	}
	s.init()
	t.Cleanup(func() {
		s.Close()
		foreign.CloseClientConnections()
		foreign.Close()
		if n := s.Open(); n != 0 {
			t.Errorf("%d slots are taken after Close", n)
		}
	})
	return ts
}

// The tunnels of a net/http server over HTTP/1 behave as those of Serve.
func TestServeHTTPConnect(t *testing.T) {
	ts := startHandler(t, &Server{Verifier: proxytest.OneUser{User: "ada", Password: "x"}}, false)
	conn := ts.Dial()
	target := tunneltest.Start(t, tunneltest.Greet("hello ")).Addr()
	testkit.Send(t, conn, proxytest.ConnectHead(target, testkit.Basic("ada", "x"))+"early ")
	testkit.Expect(t, conn, established)
	testkit.Send(t, conn, "late")
	testkit.HalfClose(t, conn)
	testkit.ExpectLast(t, conn, "hello early late")
	rec := ts.NextRecord(accesslog.EventClose)
	rec.Want(t, "user", "ada")
	rec.Want(t, "closed_by", "client")
	rec.Want(t, "protocol", "http/1.1")
	rec.Want(t, "listener", "http://"+ts.Addr)
	rec.WantNumber(t, "up", 10)
	rec.WantNumber(t, "down", 16)

	ts.Refused(proxytest.ConnectHead(target), 407, "http_request_denied")
	ts.Refused(proxytest.ConnectHead(ts.Addr, testkit.Basic("ada", "x")), 403, "destination_ip_prohibited")
}

// Over HTTP/2 the target's end of file ends the tunnel, and a reset is INTERNAL_ERROR:
// net/http allows no more.
func TestServeHTTPConnectOverHTTP2(t *testing.T) {
	ts := startHandler(t, &Server{Policy: policy.Policy{Allow: []policy.Pattern{proxytest.MustPattern(t, "*:*")}, Deny: []policy.Pattern{proxytest.MustPattern(t, "denied.test")}}}, true)
	c := clienttest.NewClient(t, routeTo(t, tunnel.SchemeH2, ts))
	conn := clienttest.MustOpen(t, c, tunneltest.Start(t, tunneltest.Greet("hello ")).Addr())
	testkit.Send(t, conn, "there")
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	testkit.ExpectLast(t, conn, "hello there")
	rec := ts.NextRecord(accesslog.EventClose)
	rec.Want(t, "protocol", "http/2")
	rec.WantNumber(t, "up", 5)
	rec.WantNumber(t, "down", 11)

	torn := clienttest.MustOpen(t, c, tunneltest.Start(t, tunneltest.ResetAfter("hello", 4)).Addr())
	testkit.Send(t, torn, "ping")
	got, err := io.ReadAll(torn)
	if stream, ok := err.(*h2.StreamError); !ok || stream.Code != h2.CodeInternal || string(got) != "hello" {
		t.Errorf("got %q, %v, want INTERNAL_ERROR", got, err)
	}
	ts.NextRecord(accesslog.EventClose).Want(t, "error", "connection_terminated")

	_, err = c.Open(t.Context(), testkit.MustAuthority(t, "denied.test:443"))
	if tunnel.ExitCode(err) != tunnel.ExitRefused {
		t.Errorf("a refusal is %v", err)
	}
}

// Plain requests, and upgrades over HTTP/1, use the same Forwarder.
func TestServeHTTPPlain(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/cut" {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "half")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Trailer", "X-End")
		fmt.Fprintf(w, "%s %s %q via %s", r.Method, r.URL, body, r.Header.Get("Via"))
		w.Header().Set("X-End", "it was")
	}))
	t.Cleanup(origin.Close)
	for _, secure := range []bool{false, true} {
		ts := startHandler(t, &Server{Name: "here"}, secure)
		transport := ts.transport2(insecureHTTP2())
		fetch := func(r *http.Request) (status int, body string, trailer string, err error) {
			t.Helper()
			var reply *http.Response
			if secure {
				proxied := *r.URL
				r.Host, r.URL.Scheme, r.URL.Host = proxied.Host, "https", ts.Addr
				reply, err = transport.RoundTrip(r)
			} else {
				reply, err = (&http.Transport{DisableKeepAlives: true, Proxy: http.ProxyURL(mustURL(t, "http://"+ts.Addr))}).RoundTrip(r)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer reply.Body.Close()
			b, err := io.ReadAll(reply.Body)
			return reply.StatusCode, string(b), reply.Trailer.Get("X-End"), err
		}
		via := "1.1 here"
		if secure {
			via = "2 here"
		}
		status, body, trailer, err := fetch(newRequest(t, "POST", origin.URL+"/x?y", strings.NewReader("sent")))
		if want := `POST /x?y "sent" via ` + via; status != 200 || body != want || trailer != "it was" || err != nil {
			t.Errorf("got %d %q %q, %v; want %q", status, body, trailer, err, want)
		}
		rec := ts.NextRecord(accesslog.EventRequest)
		rec.WantNumber(t, "up", 4)
		rec.WantAbsent(t, "error")
		if _, body, _, err := fetch(newRequest(t, "GET", origin.URL+"/cut", nil)); err == nil {
			t.Errorf("half an answer passed for %q", body)
		}
		ts.NextRecord(accesslog.EventRequest).Want(t, "error", "http_response_incomplete")
	}

	ts := startHandler(t, &Server{}, false)
	Conn := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello"), tunneltest.Serve(tunneltest.Echo))
	conn := ts.Dial()
	testkit.Send(t, conn, "GET http://"+Conn.Addr()+"/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	head := make([]byte, len("HTTP/1.1 101 "))
	if _, err := io.ReadFull(conn, head); err != nil || string(head) != "HTTP/1.1 101 " {
		t.Fatalf("the answer to an upgrade begins with %q, %v", head, err)
	}
	testkit.Send(t, conn, "ping")
	testkit.HalfClose(t, conn)
	rest, err := io.ReadAll(conn)
	if err != nil || !strings.HasSuffix(string(rest), "\r\n\r\nhelloping") {
		t.Errorf("the upgraded connection got %q, %v", rest, err)
	}
	ts.NextRecord(accesslog.EventClose).WantNumber(t, "down", 9)
}
