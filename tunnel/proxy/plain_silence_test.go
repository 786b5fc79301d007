package proxy

import (
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/testkit"
)

// silenceTest is, in a bubble, a client that has sent a request through a Server, and the
// origin that got the head.
type silenceTest struct {
	client, origin *peer
	log            *proxytest.AccessLog
	first          bool // the first of several moves
}

// inSilence runs test after the request was sent.
func inSilence(t *testing.T, s *Server, request string, test func(t *testing.T, p silenceTest)) {
	t.Helper()
	serverInBubble(t, s, func(t *testing.T, l *proxytest.FakeListener, log *proxytest.AccessLog) {
		defer s.Close() // if the test ends early
		synctest.Wait()
		origins := make(chan net.Conn, 1)
		for ln := range s.run.listeners {
			ln.forward = s.newForwarder(dialingHost{host{ln}, func(tunnel.Authority) (net.Conn, error) {
				near, far := testkit.MemoryPair(t)
				origins <- far
				return near, nil
			}})
			defer ln.forward.CloseIdleConnections()
		}
		client := newPeer(t, l.Connect(t, "127.0.0.1:9"))
		defer client.Close()
		client.send(request)
		origin := newPeer(t, <-origins)
		defer origin.Close()
		origin.head()
		test(t, silenceTest{client, origin, log, true})
	})
}

// wait lets time pass, and checks that the request is then over, or not.
func (p silenceTest) wait(t *testing.T, d time.Duration, over bool) {
	t.Helper()
	time.Sleep(d)
	synctest.Wait()
	if ended := len(p.log.Records) > 0; ended != over {
		t.Fatalf("the request has ended: %v, want %v", ended, over)
	}
}

// owedTimeout is how long a side may owe bytes and send none.
const owedTimeout = 5 * time.Minute

const (
	silentGet  = "GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n"
	silentPost = "POST http://x/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n"
)

// A side that owes bytes has five minutes for the next of them, and no longer.
func TestPlainSilenceOfWhoOwesBytesEnds(t *testing.T) {
	for _, tt := range []struct {
		name, request string
		moves         int
		move          func(p silenceTest) // makes progress
		status        int
		token         string
	}{
		{"client's content", silentPost, 3, func(p silenceTest) { p.client.send("x"); p.origin.expect("x") }, 408, "http_request_error"},
		{"client's chunks", "POST http://x/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 3, func(p silenceTest) {
			p.client.send("1\r\nx\r\n")
			p.origin.expect("1\r\nx\r\n")
		}, 408, "http_request_error"},
		{"origin that does not read", silentPost, 3, func(p silenceTest) {
			if p.first {
				go io.WriteString(p.client, strings.Repeat("x", 1_000_000))
			}
			io.CopyN(io.Discard, p.origin.br, 50_000)
		}, 504, "connection_read_timeout"},
		{"origin that does not read the end", strings.Replace(silentPost, "9999999", "5", 1), 1, func(p silenceTest) { p.client.send("hello") }, 504, "connection_read_timeout"},
		{"origin's head", silentGet, 1, func(p silenceTest) {
			if p.first { // long after the request, whose wait is not bounded
				time.Sleep(time.Hour)
				p.origin.send("HTTP/1.1 200 ")
			}
		}, 504, "connection_read_timeout"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inSilence(t, &Server{}, tt.request, func(t *testing.T, p silenceTest) {
				for range tt.moves {
					tt.move(p)
					p.wait(t, owedTimeout-10*time.Second, false)
					p.first = false
				}
				go io.Copy(io.Discard, p.client.br)
				p.wait(t, time.Minute, true)
				rec := p.log.Next(t, accesslog.EventRequest)
				rec.WantNumber(t, "status", tt.status)
				rec.Want(t, "error", tt.token)
				rec.Want(t, "closed_by", "idle")
				p.origin.ended()
			})
		})
	}
}

// After the reply's head, the client sees the failure by the end of its connection only.
func TestPlainSilenceWithinAReplyEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		move func(p silenceTest)
	}{
		{"origin's content", func(p silenceTest) { p.origin.send("x"); p.client.expect("x") }},
		{"client that takes no event", func(p silenceTest) {
			if !p.first {
				p.client.expect("x")
			}
			p.origin.send("x")
		}},
		{"client that does not read", func(p silenceTest) {
			if p.first {
				go io.WriteString(p.origin, strings.Repeat("x", 900_000))
			}
			io.CopyN(io.Discard, p.client.br, 50_000)
		}},
	} {
		for framing, field := range map[string]string{"length": "Content-Length: 999999\r\n", "none": ""} {
			if framing == "none" && tt.name == "origin's content" {
				continue // a stream of events may be silent
			}
			t.Run(tt.name+" "+framing, func(t *testing.T) {
				inSilence(t, &Server{}, strings.Replace(silentGet, "1.1", "1.0", 1), func(t *testing.T, p silenceTest) {
					p.origin.send("HTTP/1.1 200 OK\r\n" + field + "\r\n")
					p.client.head()
					for range 3 {
						tt.move(p)
						p.wait(t, owedTimeout-10*time.Second, false)
						p.first = false
					}
					p.wait(t, time.Minute, true)
					rec := p.log.Next(t, accesslog.EventRequest)
					rec.WantNumber(t, "status", 200)
					rec.Want(t, "error", "connection_read_timeout")
					rec.Want(t, "closed_by", "idle")
					p.origin.ended()
					p.client.ended()
				})
			})
		}
	}
}

// No side owes bytes in a long poll before its answer, or in a stream of events between
// two events.
func TestPlainSilenceOfALongPollLasts(t *testing.T) {
	inSilence(t, &Server{}, silentGet, func(t *testing.T, p silenceTest) {
		p.wait(t, 3*time.Hour, false)
		p.origin.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		p.client.head()
		for range 2 {
			p.wait(t, 3*time.Hour, false)
			p.origin.send("1\r\nx\r\n")
			p.client.expect("1\r\nx\r\n")
		}
		p.origin.send("0\r\n\r\n")
		p.client.expect("0\r\n\r\n")
		p.wait(t, time.Second, true)
		p.log.Next(t, accesslog.EventRequest).WantAbsent(t, "error")
		p.client.send(silentGet)
		if head := p.origin.head(); !strings.HasPrefix(head, "GET / ") {
			t.Errorf("the kept connection brought %q", head)
		}
	})
}

// IdleTimeout bounds the silence of such exchanges too, as it does that of tunnels.
func TestPlainSilenceEndsAfterIdleTimeout(t *testing.T) {
	for _, limit := range []time.Duration{time.Minute, time.Hour} {
		t.Run(strconv.Itoa(int(limit.Seconds())), func(t *testing.T) {
			inSilence(t, &Server{IdleTimeout: limit}, silentGet, func(t *testing.T, p silenceTest) {
				p.wait(t, limit-time.Second, false)
				go io.Copy(io.Discard, p.client.br)
				p.wait(t, limit/5+2*time.Second, true)
				p.log.Next(t, accesslog.EventRequest).WantNumber(t, "status", 504)
			})
		})
	}
}
