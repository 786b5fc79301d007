package proxy

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"culvert/tunnel/internal/h2"
	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"
)

// h2ClientOf speaks HTTP/2 to the Server.
func (ts *testServer) h2ClientOf() *h2.Conn {
	ts.Helper()
	c := h2.Client(ts.Dial(), h2.Config{})
	ts.Cleanup(func() { c.Close() })
	return c
}

// A client that has not logged in has few streams, and as many as any other once it has.
func TestStrangersHaveFewStreams(t *testing.T) {
	ts := startServer(t, &Server{Verifier: mustUsers(t, "alice:"+hashes["SHA"])})
	c := ts.h2ClientOf()
	if settings, err := c.PeerSettings(t.Context()); err != nil || settings.MaxStreams != strangerStreams {
		t.Fatalf("a stranger has %d streams, %v", settings.MaxStreams, err)
	}
	open := func(password string) int {
		t.Helper()
		s, err := c.Open(t.Context(), []h2.Field{{Name: ":method", Value: "CONNECT"}, {Name: ":authority", Value: tunneltest.Start(t, tunneltest.Echo).Addr()},
			{Name: "proxy-authorization", Value: strings.TrimPrefix(testkit.Basic("alice", password), "Proxy-Authorization: ")}}, false)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		head, err := s.ReadHead(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return head.Status()
	}
	if got := open("wrong"); got != http.StatusProxyAuthRequired {
		t.Errorf("a wrong password: status %d", got)
	}
	if settings, _ := c.PeerSettings(t.Context()); settings.MaxStreams != strangerStreams {
		t.Errorf("after a wrong password there are %d streams", settings.MaxStreams)
	}
	if got := open("correct horse"); got != http.StatusOK {
		t.Errorf("the right password: status %d", got)
	}
	testkit.Eventually(t, "all streams are allowed", func() bool {
		settings, _ := c.PeerSettings(t.Context())
		return settings.MaxStreams == maxStreams
	})
}

// Where no login is asked for, nobody is a stranger.
func TestNoStrangersWithoutUsers(t *testing.T) {
	c := startServer(t, &Server{}).h2ClientOf()
	if settings, err := c.PeerSettings(t.Context()); err != nil || settings.MaxStreams != maxStreams {
		t.Fatalf("there are %d streams, %v", settings.MaxStreams, err)
	}
}

// A head with too many fields is refused, however small they are.
func TestManyFieldsOverHTTP2(t *testing.T) {
	ts := startServer(t, &Server{})
	c := ts.h2ClientOf()
	fields := []h2.Field{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: "a.test"}, {Name: ":path", Value: "/"}}
	for range 1100 {
		fields = append(fields, h2.Field{Name: "a", Value: ""})
	}
	s, err := c.Open(t.Context(), fields, true)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if head, err := s.ReadHead(t.Context()); err != nil || head.Status() != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d, %v", head.Status(), err)
	}
}

// A client that is not served is told so in the protocol that it speaks.
func TestClientThatIsNotServedOverHTTP2(t *testing.T) {
	ts := startServer(t, &Server{AllowClient: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	c := ts.h2ClientOf()
	for i := range 2 {
		s, err := c.Open(t.Context(), []h2.Field{{Name: ":method", Value: "CONNECT"}, {Name: ":authority", Value: "a.test:443"}}, false)
		if i > 0 && err != nil {
			break // the connection has ended
		}
		if err != nil {
			t.Fatal(err)
		}
		head, err := s.ReadHead(t.Context())
		s.Close()
		if i == 0 && (err != nil || head.Status() != http.StatusForbidden) {
			t.Errorf("status %d, %v", head.Status(), err)
		}
		if i == 1 && err == nil {
			t.Errorf("a second stream got status %d", head.Status())
		}
	}
	ts.NextRecord("request").WantNumber(t, "status", http.StatusForbidden)
	// Over HTTP/1 as ever.
	conn, err := net.Dial("tcp", ts.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if a := proxytest.ReadAnswer(t, conn); a.Status != http.StatusForbidden {
		t.Errorf("over HTTP/1: status %d", a.Status)
	}
}
