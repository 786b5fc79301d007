package tunnel

import (
	"strings"
	"sync"
	"testing"
	"time"
)

// DESIGN 3: --header-timeout; a browser opens conns in advance and would take
// an answer for one to its next request.
func TestHeaderTimeoutOfASilentConnection(t *testing.T) {
	serverInBubble(t, &Server{HeaderTimeout: 7 * time.Second}, func(t *testing.T, l *fakeListener, log *accessLog) {
		start := time.Now()
		conn := l.connect(t, "192.0.2.1:5")
		expectLast(t, conn, "")
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
		serverInBubble(t, &Server{HeaderTimeout: 7 * time.Second}, func(t *testing.T, l *fakeListener, log *accessLog) {
			conn := l.connect(t, "192.0.2.1:5")
			send(t, conn, half)
			start := time.Now()
			a := readAnswer(t, conn)
			if a.status != 408 || !strings.Contains(a.header.Get("Proxy-Status"), "error=http_request_error") {
				t.Errorf("half a head %q: %q", half, a.raw)
			}
			if got := time.Since(start); got != 7*time.Second {
				t.Errorf("answered after %v, want 7s", got)
			}
			rec := log.next(t, eventRequest)
			rec.wantNumber(t, "status", 408)
		})
	}
}

// A head that never ends must not live on by coming slowly.
func TestHeaderTimeoutOfATricklingHead(t *testing.T) {
	serverInBubble(t, &Server{HeaderTimeout: 7 * time.Second}, func(t *testing.T, l *fakeListener, _ *accessLog) {
		conn := l.connect(t, "192.0.2.1:5")
		send(t, conn, "CONNECT example.test:443 HTTP/1.1\r\nX: ")
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
		if a := readAnswer(t, conn); a.status != 408 || time.Since(start) != 7*time.Second {
			t.Errorf("status %d after %v, want 408 after 7s", a.status, time.Since(start))
		}
		conn.Close()
		trickle.Wait()
	})
}

// Negative means off, for each of the two by itself.
func TestHeaderTimeoutOff(t *testing.T) {
	serverInBubble(t, &Server{HeaderTimeout: -1, KeepAliveTimeout: time.Second, Verifier: oneUser{user: "a", password: "b"}}, func(t *testing.T, l *fakeListener, _ *accessLog) {
		conn := l.connect(t, "192.0.2.1:5")
		time.Sleep(24 * time.Hour)
		head := connectHead("example.test:443")
		send(t, conn, head[:20])
		time.Sleep(24 * time.Hour)
		send(t, conn, head[20:])
		if a := readAnswer(t, conn); a.status != 407 {
			t.Errorf("status %d, want 407", a.status)
		}
	})
}

// A refused client that keeps its end open keeps nothing here.
func TestRefusedClientThatStays(t *testing.T) {
	serverInBubble(t, &Server{}, func(t *testing.T, l *fakeListener, _ *accessLog) {
		conn := l.connect(t, "192.0.2.1:5")
		send(t, conn, "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n")
		readAnswer(t, conn)
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
