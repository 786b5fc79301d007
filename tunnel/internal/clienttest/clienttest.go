// Package clienttest makes Clients for tests, opens tunnels with them, and checks their
// errors. Tests of every package above client may use it; nothing else imports it.
package clienttest

import (
	"errors"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/explain"
	"culvert/tunnel/internal/testkit"
)

// Proxied returns a Client whose route leads through the given hops, each a URL or a
// host and port.
func Proxied(t *testing.T, hops ...string) *client.Client {
	t.Helper()
	route, err := tunnel.ParseHops(hops)
	if err != nil {
		t.Fatal(err)
	}
	return &client.Client{Route: route}
}

// TryOpen opens a tunnel to example.com:22. The proxy must be a script that does not
// connect there. The tunnel has a deadline, and is closed when the test ends. TryOpen
// fails the test if an error is not a *tunnel.Error.
func TryOpen(t *testing.T, c *client.Client) (*client.Conn, *tunnel.Error) {
	t.Helper()
	conn, err := c.Open(t.Context(), testkit.MustAuthority(t, "example.com:22"))
	if err != nil {
		var e *tunnel.Error
		if !errors.As(err, &e) || conn != nil {
			t.Fatalf("Open: %v, %v: want an *Error alone", conn, err)
		}
		return nil, e
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(testkit.Patience))
	return conn, nil
}

// Field returns a field for client.Client.Header.
func Field(name, value string) client.Field { return client.Field{Name: name, Value: value} }

// NewClient returns a Client that goes along the route, with a timeout for tests. Its
// idle connections are closed when the test ends.
func NewClient(tb testing.TB, route tunnel.Route) *client.Client {
	c := &client.Client{Route: route, Timeout: testkit.Patience}
	tb.Cleanup(c.CloseIdleConnections)
	return c
}

// MustOpen opens a tunnel to the target, and fails the test if it cannot. The tunnel has a
// deadline, and is closed when the test ends.
func MustOpen(tb testing.TB, c *client.Client, target string) *client.Conn {
	tb.Helper()
	conn, err := c.Open(tb.Context(), testkit.MustAuthority(tb, target))
	if err != nil {
		tb.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(testkit.Patience))
	tb.Cleanup(func() { conn.Close() })
	return conn
}

// WantExplained fails the test unless explain.Error returns the sentence and the hint for
// err.
func WantExplained(t *testing.T, err error, sentence, hint string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	gotSentence, gotHint := explain.Error(err)
	if gotSentence != sentence {
		t.Errorf("sentence %q\n    want %q", gotSentence, sentence)
	}
	if gotHint != hint {
		t.Errorf("hint %q\nwant %q", gotHint, hint)
	}
}
