package proxy

import (
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/testkit"
)

// A silent connection gets no answer, since a browser opens
// conns in advance, and would take it for the answer to its next request.
func TestHeaderTimeoutOfASilentConnection(t *testing.T) {
	serverInBubble(t, &Server{HeaderTimeout: 7 * time.Second}, func(t *testing.T, l *proxytest.FakeListener, log *proxytest.AccessLog) {
		start := time.Now()
		conn := l.Connect(t, "192.0.2.1:5")
		testkit.ExpectLast(t, conn, "")
		if got := time.Since(start); got != 7*time.Second {
			t.Errorf("closed after %v, want 7s", got)
		}
		if log.String() != "" {
			t.Errorf("a conn without a request was logged:\n%s", log)
		}
	})
}

func TestHeaderTimeoutOfHalfAHead(t *testing.T) {
	for _, half := range []string{"C", "CONNECT example.test:443", "CONNECT example.test:443 HTTP/1.1\r\nHost: a\r\n", "\r\n"} {
		serverInBubble(t, &Server{HeaderTimeout: 7 * time.Second}, func(t *testing.T, l *proxytest.FakeListener, log *proxytest.AccessLog) {
			conn := l.Connect(t, "192.0.2.1:5")
			testkit.Send(t, conn, half)
			start := time.Now()
			a := proxytest.ReadAnswer(t, conn)
			if a.Status != 408 || !strings.Contains(a.Header.Get("Proxy-Status"), "error=http_request_error") {
				t.Errorf("half a head %q: %q", half, a.Raw)
			}
			if got := time.Since(start); got != 7*time.Second {
				t.Errorf("answered after %v, want 7s", got)
			}
			rec := log.Next(t, accesslog.EventRequest)
			rec.WantNumber(t, "status", 408)
		})
	}
}

// A head that arrives slowly must not extend the timeout.
func TestHeaderTimeoutOfATricklingHead(t *testing.T) {
	serverInBubble(t, &Server{HeaderTimeout: 7 * time.Second}, func(t *testing.T, l *proxytest.FakeListener, _ *proxytest.AccessLog) {
		conn := l.Connect(t, "192.0.2.1:5")
		testkit.Send(t, conn, "CONNECT example.test:443 HTTP/1.1\r\nX: ")
		var trickle sync.WaitGroup
		trickle.Go(func() {
			for {
				if _, err := conn.Write([]byte("x")); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
		start := time.Now()
		if a := proxytest.ReadAnswer(t, conn); a.Status != 408 || time.Since(start) != 7*time.Second {
			t.Errorf("status %d after %v, want 408 after 7s", a.Status, time.Since(start))
		}
		conn.Close()
		trickle.Wait()
	})
}

// A negative timeout is off, for each of the two separately.
func TestHeaderTimeoutOff(t *testing.T) {
	serverInBubble(t, &Server{HeaderTimeout: -1, KeepAliveTimeout: time.Second, Verifier: proxytest.OneUser{User: "a", Password: "b"}}, func(t *testing.T, l *proxytest.FakeListener, _ *proxytest.AccessLog) {
		conn := l.Connect(t, "192.0.2.1:5")
		time.Sleep(24 * time.Hour)
		head := proxytest.ConnectHead("example.test:443")
		testkit.Send(t, conn, head[:20])
		time.Sleep(24 * time.Hour)
		testkit.Send(t, conn, head[20:])
		if a := proxytest.ReadAnswer(t, conn); a.Status != 407 {
			t.Errorf("status %d, want 407", a.Status)
		}
	})
}

// A refused client that keeps its side open does not hold the connection here.
func TestRefusedClientThatStays(t *testing.T) {
	serverInBubble(t, &Server{}, func(t *testing.T, l *proxytest.FakeListener, _ *proxytest.AccessLog) {
		conn := l.Connect(t, "192.0.2.1:5")
		testkit.Send(t, conn, "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n")
		proxytest.ReadAnswer(t, conn)
		start := time.Now()
		for {
			if _, err := conn.Write([]byte("more")); err != nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		if got := time.Since(start); got > 2*drainTime {
			t.Errorf("the refused conn was read from for %v", got)
		}
	})
}
