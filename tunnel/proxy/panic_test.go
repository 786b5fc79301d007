package proxy

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"culvert/tunnel/internal/h2"
	"culvert/tunnel/internal/panics"
	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"
)

// panickingVerifier panics for the user boom.
type panickingVerifier struct{}

func (panickingVerifier) Verify(user, _ string) bool {
	if user == "boom" {
		panic("a bug")
	}
	return true
}

// collectPanics collects what is reported until the test ends. Tests that use it do not run
// beside each other.
func collectPanics(t *testing.T) func() []panics.Report {
	var mu sync.Mutex
	var got []panics.Report
	panics.Handle(func(r panics.Report) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, r)
	})
	t.Cleanup(func() { panics.Handle(nil) })
	return func() []panics.Report {
		mu.Lock()
		defer mu.Unlock()
		return got
	}
}

// A panic ends its own connection, and nothing else.
func TestPanicEndsItsConnectionOnly(t *testing.T) {
	reports := collectPanics(t)
	ts := startServer(t, &Server{Verifier: panickingVerifier{}, MaxTunnels: 1})
	echo := tunneltest.Start(t, tunneltest.Echo).Addr()
	for range 3 {
		conn := ts.Dial()
		testkit.Send(t, conn, proxytest.ConnectHead(echo, testkit.Basic("boom", "x")))
		if got, err := io.ReadAll(conn); len(got) > 0 {
			t.Errorf("the client got %q, %v", got, err)
		}
	}
	conn := ts.Dial()
	testkit.Send(t, conn, proxytest.ConnectHead(echo, testkit.Basic("ada", "x"))+"hello")
	testkit.Expect(t, conn, established+"hello")
	if got := reports(); len(got) != 3 || got[0].Value != "a bug" || !strings.Contains(got[0].Stack, "Verify") {
		t.Errorf("%d reports: %v", len(got), got)
	}
}

// Over HTTP/2 it ends its own stream.
func TestPanicEndsItsStreamOnly(t *testing.T) {
	reports := collectPanics(t)
	ts := startServer(t, &Server{Verifier: panickingVerifier{}, MaxTunnels: 2})
	echo := tunneltest.Start(t, tunneltest.Echo).Addr()
	c := ts.h2ClientOf()
	open := func(user string) (*h2.Stream, h2.Head, error) {
		t.Helper()
		s, err := c.Open(t.Context(), []h2.Field{{Name: ":method", Value: "CONNECT"}, {Name: ":authority", Value: echo},
			{Name: "proxy-authorization", Value: strings.TrimPrefix(testkit.Basic(user, "x"), "Proxy-Authorization: ")}}, false)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		head, err := s.ReadHead(t.Context())
		return s, head, err
	}
	first, head, err := open("ada")
	if err != nil || head.Status() != http.StatusOK {
		t.Fatalf("status %d, %v", head.Status(), err)
	}
	if _, head, err := open("boom"); err == nil {
		t.Errorf("the stream of the panic got status %d", head.Status())
	}
	io.WriteString(first, "still there")
	got := make([]byte, len("still there"))
	if _, err := io.ReadFull(first, got); err != nil || string(got) != "still there" {
		t.Errorf("the other stream got %q, %v", got, err)
	}
	if len(reports()) != 1 {
		t.Errorf("reports: %v", reports())
	}
}
