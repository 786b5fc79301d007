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

// Proxied is a Client that goes through the given addresses.
func Proxied(t *testing.T, hops ...string) *client.Client {
	t.Helper()
	route, err := tunnel.ParseHops(hops)
	if err != nil {
		t.Fatal(err)
	}
	return &client.Client{Route: route}
}

// TryOpen opens a tunnel to a target that no script connects to.
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

func Field(name, value string) client.Field { return client.Field{Name: name, Value: value} }

func NewClient(tb testing.TB, route tunnel.Route) *client.Client {
	c := &client.Client{Route: route, Timeout: testkit.Patience}
	tb.Cleanup(c.CloseIdleConnections)
	return c
}

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
