package tunnel

import (
	"errors"
	"testing"
	"time"
)

// proxied is a Client that goes through the given addresses.
func proxied(t *testing.T, hops ...string) *Client {
	t.Helper()
	route, err := ParseHops(hops)
	if err != nil {
		t.Fatal(err)
	}
	return &Client{Route: route}
}

// openAt opens a tunnel to a target that no script connects to.
func openAt(t *testing.T, c *Client) (*Conn, *Error) {
	t.Helper()
	conn, err := c.Open(t.Context(), mustAuthority(t, "example.com:22"))
	if err != nil {
		var e *Error
		if !errors.As(err, &e) || conn != nil {
			t.Fatalf("Open: %v, %v: want an *Error alone", conn, err)
		}
		return nil, e
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(testPatience))
	return conn, nil
}

func field(name, value string) Field { return Field{Name: name, Value: value} }

func newClient(tb testing.TB, route Route) *Client {
	c := &Client{Route: route, Timeout: testPatience}
	tb.Cleanup(c.CloseIdleConnections)
	return c
}

func mustOpen(tb testing.TB, c *Client, target string) *Conn {
	tb.Helper()
	conn, err := c.Open(tb.Context(), mustAuthority(tb, target))
	if err != nil {
		tb.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(testPatience))
	tb.Cleanup(func() { conn.Close() })
	return conn
}

func wantExplained(t *testing.T, err error, sentence, hint string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	gotSentence, gotHint := Explain(err)
	if gotSentence != sentence {
		t.Errorf("sentence %q\n    want %q", gotSentence, sentence)
	}
	if gotHint != hint {
		t.Errorf("hint %q\nwant %q", gotHint, hint)
	}
}
