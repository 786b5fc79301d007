package proxy

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/policy"
)

// RFC 9112, section 9.3.
func TestPlainConnectionsAreKeptOnBothSides(t *testing.T) {
	p := newPlainTest(t)
	client, origin, _ := p.exchange(simpleGet)
	for range 3 {
		origin.send(okHello)
		client.expect(helloHere)
		p.logged(200, 0, 5).Want(t, "addr", p.origin.addr)
		client.send(p.fill(simpleGet))
		origin.head()
	}
}

func TestPlainClientClosesWhileOriginIsKept(t *testing.T) {
	p := newPlainTest(t)
	client, origin, head := p.exchange("GET http://ORIGIN/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if strings.Contains(head, "Connection") {
		t.Errorf("the client's close was passed on: %q", head)
	}
	origin.send(okHello)
	if got := client.rest(); !strings.Contains(got, "Connection: close\r\n") || !strings.HasSuffix(got, "hello") {
		t.Errorf("the client got %q", got)
	}
	second := p.begin(simpleGet)
	origin.head()
	origin.send(okHello)
	second.expect(helloHere)
}

func TestPlainProxyConnectionCloseCloses(t *testing.T) {
	p := newPlainTest(t)
	client, origin, _ := p.exchange("GET http://ORIGIN/ HTTP/1.1\r\nHost: x\r\nProxy-Connection: close\r\n\r\n")
	origin.send(okHello)
	if got := client.rest(); !strings.Contains(got, "Connection: close\r\n") {
		t.Errorf("the client got %q", got)
	}
}

func TestPlainOriginClosesEachTimeWhileClientIsKept(t *testing.T) {
	p := newPlainTest(t)
	client := newPeer(t, p.ts.Dial())
	for range 3 {
		client.send(p.fill(simpleGet))
		origin := p.origin.accept()
		origin.head()
		origin.send("HTTP/1.1 200 OK\r\n" + date + "Connection: close\r\nContent-Length: 5\r\n\r\nhello")
		origin.Close()
		client.expect(helloHere)
	}
}

// A request that meets a kept connection closed by the origin is repeated on a new one.
func TestPlainStaleOriginConnectionIsReplaced(t *testing.T) {
	p := newPlainTest(t)
	client, origin, _ := p.exchange(simpleGet)
	origin.send(okHello)
	client.expect(helloHere)
	origin.Close()
	client.send(p.fill(simpleGet))
	again := p.origin.accept()
	again.head()
	again.send(okHello)
	client.expect(helloHere)
}

// RFC 9112, section 9.3: the connection of an HTTP/1.0 client is not kept.
func TestPlainHTTP10ClientIsClosed(t *testing.T) {
	p := newPlainTest(t)
	client, origin, _ := p.exchange("GET http://ORIGIN/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
	origin.send(okHello)
	want := "HTTP/1.1 200 OK\r\n" + date + "Via: 1.1 p\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
	if got := client.rest(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	p.logged(200, 0, 5).Want(t, "protocol", "http/1.0")
}

// RFC 9112, section 9.3.2.
func TestPlainPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	p := newPlainTest(t)
	request := func(n string) string {
		return "POST http://ORIGIN/" + n + " HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n" + n
	}
	client := p.begin(request("1") + request("2") + "\r\n" + request("3"))
	origin := p.origin.accept()
	for _, n := range []string{"1", "2", "3"} {
		if head := origin.head(); !strings.HasPrefix(head, "POST /"+n+" ") {
			t.Fatalf("the origin got %q", head)
		}
		origin.expect(n)
		origin.send(strings.ReplaceAll(okHello, "hello", "hell"+n))
		client.expect(strings.ReplaceAll(helloHere, "hello", "hell"+n))
	}
}

// A pipelined request may be larger than the reader's buffer.
func TestPlainPipelinedLargeHeads(t *testing.T) {
	p := newPlainTest(t)
	long := strings.Repeat("x", 20_000)
	request := "GET http://ORIGIN/" + long + " HTTP/1.1\r\nHost: x\r\n\r\n"
	client := p.begin(request + request + request)
	origin := p.origin.accept()
	for range 3 {
		if line, _, _ := strings.Cut(origin.head(), " HTTP"); line != "GET /"+long {
			t.Fatalf("the origin got a target of %d bytes", len(line)-4)
		}
		origin.send(okHello)
		client.expect(helloHere)
	}
}

func TestPlainConnectAfterGetBecomesATunnel(t *testing.T) {
	p := newPlainTest(t)
	client, origin, _ := p.exchange(simpleGet)
	origin.send(okHello)
	client.expect(helloHere)
	client.send(proxytest.ConnectHead(p.origin.addr) + "GET http://early/ HTTP/1.1\r\n\r\n")
	target := p.origin.accept()
	target.expect("GET http://early/ HTTP/1.1\r\n\r\n")
	client.expect(established)
	target.send("any\x00bytes")
	client.expect("any\x00bytes")
	client.Close()
	target.Close()
	p.ts.NextRecord(accesslog.EventClose).WantNumber(t, "up", len("GET http://early/ HTTP/1.1\r\n\r\n"))
}

func TestPlainConnectPipelinedBehindAGet(t *testing.T) {
	p := newPlainTest(t)
	client, origin, _ := p.exchange(simpleGet + proxytest.ConnectHead(p.origin.addr) + "early")
	origin.send(okHello)
	target := p.origin.accept()
	target.expect("early")
	client.expect(helloHere + established)
}

// Each request is checked, whatever the connection carried before.
func TestPlainPolicyIsJudgedPerRequest(t *testing.T) {
	p := plainTestWith(t, &Server{Policy: policy.Policy{Deny: []policy.Pattern{proxytest.MustPattern(t, "localhost")}}})
	client, origin, _ := p.exchange(simpleGet)
	origin.send(okHello)
	client.expect(helloHere)
	p.logged(200, 0, 5)
	_, port, _ := net.SplitHostPort(p.origin.addr)
	client.send("GET http://localhost:" + port + "/ HTTP/1.1\r\nHost: " + p.origin.addr + "\r\n\r\n")
	rec := p.ts.CheckRefusal(proxytest.ReadAnswer(t, client), 403, "http_request_denied")
	rec.Want(t, "rule", "deny localhost")
	p.origin.untouched()
}

// A connection opened for one name is not used for another that has the same address
// but is denied, in whatever spelling.
func TestPlainPooledConnectionDoesNotPassThePolicy(t *testing.T) {
	p := plainTestWith(t, &Server{Resolver: testkit.ResolveTo("127.0.0.1"), Policy: policy.Policy{Deny: []policy.Pattern{proxytest.MustPattern(t, "bad.example")}}})
	_, port, _ := net.SplitHostPort(p.origin.addr)
	p.origin.addr = "good.example:" + port
	client, origin, _ := p.exchange(simpleGet)
	origin.send(okHello)
	client.expect(helloHere)
	p.logged(200, 0, 5)
	for _, name := range []string{"bad.example", "BAD.example", "bad.example."} {
		a := p.ts.Ask("GET http://" + name + ":" + port + "/ HTTP/1.1\r\nHost: good.example:" + port + "\r\n\r\n")
		p.ts.CheckRefusal(a, 403, "http_request_denied")
	}
}

func TestPlainAddressLayer(t *testing.T) {
	p := plainTestWith(t, &Server{Policy: policy.Policy{DenyAddr: []policy.AddrRule{policy.ClassRule(policy.ClassLoopback)}}})
	p.refused(simpleGet, 403, "destination_ip_prohibited")
	p.origin.untouched()
}

func TestPlainOwnListenerIsNoTarget(t *testing.T) {
	p := newPlainTest(t)
	p.refused("GET http://"+p.ts.Addr+"/ HTTP/1.1\r\nHost: x\r\n\r\n", 403, "destination_ip_prohibited")
}

func TestPlainCredentialsAreJudgedPerRequest(t *testing.T) {
	p := plainTestWith(t, &Server{Verifier: proxytest.OneUser{User: "u", Password: "pw"}})
	client, origin, head := p.exchange("GET http://ORIGIN/ HTTP/1.1\r\nHost: x\r\n" + testkit.Basic("u", "pw") + "\r\n\r\n")
	if strings.Contains(head, "Authorization") {
		t.Errorf("the origin got the credentials: %q", head)
	}
	origin.send(okHello)
	client.expect(helloHere)
	p.logged(200, 0, 5).Want(t, "user", "u")
	client.send(p.fill(simpleGet))
	a := proxytest.ReadAnswer(t, client)
	p.ts.CheckRefusal(a, 407, "http_request_denied")
	if a.Header.Get("Proxy-Authenticate") == "" {
		t.Error("there is no challenge")
	}
}

func TestPlainRefusalOfHEADHasNoBody(t *testing.T) {
	p := newPlainTest(t)
	client := p.begin("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
	got := client.rest()
	if head, body, _ := strings.Cut(got, "\r\n\r\n"); body != "" || !strings.HasPrefix(head, "HTTP/1.1 400 ") {
		t.Errorf("got %q", got)
	}
}

func TestPlainOriginThatIsNotThere(t *testing.T) {
	p := newPlainTest(t)
	p.origin.listener.Close()
	a := p.ts.Ask(p.fill(simpleGet))
	p.ts.CheckRefusal(a, 502, "connection_refused").Want(t, "target", p.origin.addr)
}

// net/http's client and server, through the proxy.
func TestPlainWithNetHTTP(t *testing.T) {
	p := newPlainTest(t)
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Trailer", "X-Sum")
		io.WriteString(w, r.Method+" "+r.RequestURI+" "+string(body))
		w.(http.Flusher).Flush()
		w.Header().Set("X-Sum", "done")
	}))
	defer origin.Close()
	transport := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: p.ts.Addr})}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: testkit.Patience}
	for range 10 {
		reply, err := client.Post(origin.URL+"/a?b=%20", "text/plain", io.MultiReader(strings.NewReader("chunked")))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(reply.Body)
		reply.Body.Close()
		if err != nil || string(body) != "POST /a?b=%20 chunked" || reply.Trailer.Get("X-Sum") != "done" {
			t.Fatalf("got %q, trailers %v, %v", body, reply.Trailer, err)
		}
	}
}

// While draining, a request under way gets its whole answer with Connection: close; an
// idle connection is closed; a new request is refused.
func TestPlainDraining(t *testing.T) {
	p := newPlainTest(t)
	idle, origin, _ := p.exchange(simpleGet)
	origin.send(okHello)
	idle.expect(helloHere)
	busy := p.begin(simpleGet)
	origin.head()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		p.ts.server.Shutdown(t.Context())
	}()
	if got := idle.rest(); got != "" {
		t.Errorf("the idle client got %q", got)
	}
	select {
	case <-stopped:
		t.Fatal("Shutdown returned while a request was under way")
	default:
	}
	origin.send(okHello)
	if got := busy.rest(); !strings.Contains(got, "Connection: close\r\n") || !strings.HasSuffix(got, "hello") {
		t.Errorf("the busy client got %q", got)
	}
	busy.Close()
	testkit.Await(t, "Shutdown", stopped)
}

// Close does not wait for an origin that hangs, at any point.
func TestPlainCloseCutsWhatHangs(t *testing.T) {
	for name, reply := range map[string]string{
		"before the answer": "", "in the head": "HTTP/1.1 200 O", "in the content": "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhell",
	} {
		for kind, fields := range map[string]string{"plain": "", "upgrade": "Connection: upgrade\r\nUpgrade: x\r\n"} {
			t.Run(kind+" "+name, func(t *testing.T) {
				p := newPlainTest(t)
				client, origin, _ := p.exchange("GET http://ORIGIN/ HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n")
				if origin.send(reply); strings.HasSuffix(reply, "hell") {
					client.head()
				}
				closed := make(chan struct{})
				go func() {
					defer close(closed)
					p.ts.server.Close()
				}()
				select {
				case <-closed:
				case <-time.After(testkit.Patience):
					t.Fatal("Close hangs")
				}
				client.ended()
			})
		}
	}
}

// If the origin has closed an idle connection, a request larger than one write is sent
// again, although part of it was written to the closed connection.
func TestPlainLargeRequestSurvivesAClosedIdleConnection(t *testing.T) {
	p := newPlainTest(t)
	long := "GET http://ORIGIN/" + strings.Repeat("x", 20_000) + " HTTP/1.1\r\nHost: x\r\n\r\n"
	for range 20 {
		p.forwarded(long) // the origin closes after each
	}
}
