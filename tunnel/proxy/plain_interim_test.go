package proxy

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/testkit"
)

// An origin that sends interim replies without end is cut off, whether they are passed on
// or not.
func TestPlainInterimRepliesWithoutEnd(t *testing.T) {
	for _, interim := range []string{"HTTP/1.1 103 Early Hints\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n"} {
		p := newPlainTest(t)
		client, origin, _ := p.exchange(simpleGet)
		go io.WriteString(origin.Conn, strings.Repeat(interim, 1001)) // fails when the proxy closes
		if strings.Contains(interim, "103") {
			client.expect(strings.Repeat(interim, 1000))
		}
		if status := client.line(); !strings.HasPrefix(status, "HTTP/1.1 502") {
			t.Errorf("the client got %q", status)
		}
		p.ts.NextRecord(accesslog.EventRequest).Want(t, "error", "http_protocol_error")
		origin.ended()
	}
}

// A client that reads none of its interim replies is noticed like any other: when it leaves,
// and when nothing moves for too long.
func TestPlainInterimRepliesThatNobodyReads(t *testing.T) {
	interim := "HTTP/1.1 103 Early Hints\r\nLink: " + strings.Repeat("x", 60_000) + "\r\n\r\n"
	for name, tt := range map[string]struct {
		server   *Server
		then     func(net.Conn)
		closedBy string
	}{
		"and resets":  {&Server{}, testkit.Reset, "client"},
		"and leaves":  {&Server{Linger: time.Millisecond}, func(conn net.Conn) { conn.Close() }, "client"},
		"and waits":   {&Server{IdleTimeout: 100 * time.Millisecond}, func(net.Conn) {}, "client"},
		"half-closes": {&Server{Linger: time.Millisecond}, func(conn net.Conn) { testkit.HalfClose(t, conn) }, "client"},
	} {
		t.Run(name, func(t *testing.T) {
			p := plainTestWith(t, tt.server)
			client, origin, _ := p.exchange(simpleGet)
			blocked := make(chan struct{})
			go func() {
				defer close(blocked)
				for range 999 {
					if _, err := io.WriteString(origin.Conn, interim); err != nil {
						return // the proxy has closed it
					}
				}
			}()
			tt.then(client.Conn)
			testkit.Await(t, "the end of the origin's connection", blocked)
			p.ts.NextRecord(accesslog.EventRequest).Want(t, "closed_by", tt.closedBy)
		})
	}
}
