package relay

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/testkit"
)

func TestRelayRule1EarlyBytesGoFirst(t *testing.T) {
	eachRelay(t, nil, func(t *testing.T, tt *testTunnel) {
		tt.startEarly(Limits{}, []byte("early up, "), []byte("early down, "))
		testkit.Expect(t, tt.target, "early up, ")
		testkit.Expect(t, tt.client, "early down, ")
		testkit.Send(t, tt.client, "late up")
		testkit.Send(t, tt.target, "late down")
		testkit.Expect(t, tt.target, "late up")
		testkit.Expect(t, tt.client, "late down")
		tt.relay.End(ClosedByDrain)
		if result := tt.waitFor(ClosedByDrain); result.Up != 17 || result.Down != 21 {
			t.Errorf("counted %d up and %d down, want 17 and 21", result.Up, result.Down)
		}
	})
}

// Early bytes wait for nothing, not even for the client's first byte.
func TestRelayRule1EarlyBytesOfOneSideDoNotWaitForTheOther(t *testing.T) {
	eachRelay(t, nil, func(t *testing.T, tt *testTunnel) {
		tt.startEarly(Limits{}, nil, []byte("SSH-2.0-banner\r\n"))
		testkit.Expect(t, tt.client, "SSH-2.0-banner\r\n")
	})
}

func TestRelayRule2HalfCloseIsPassedOn(t *testing.T) {
	answer := strings.Repeat("an answer longer than any buffer on its way; ", 20_000)
	for _, first := range []ClosedBy{ClosedByClient, ClosedByTarget} {
		t.Run(string(first)+" first", func(t *testing.T) {
			eachRelay(t, nil, func(t *testing.T, tt *testTunnel) {
				tt.start(Limits{Linger: time.Hour})
				asks, answers := tt.client, tt.target
				if first == ClosedByTarget {
					asks, answers = answers, asks
				}
				go func() {
					_, _ = io.WriteString(asks, "a question")
					_ = asks.(sock.HalfCloser).CloseWrite()
				}()
				testkit.ExpectLast(t, answers, "a question")
				go func() {
					_, _ = io.WriteString(answers, answer)
					_ = answers.(sock.HalfCloser).CloseWrite()
				}()
				testkit.ExpectLast(t, asks, answer)
				result := tt.waitFor(first)
				if result.Up+result.Down != int64(len(answer)+len("a question")) {
					t.Errorf("counted %d and %d", result.Up, result.Down)
				}
			})
		})
	}
}

func TestRelayRule3ResetIsPassedOnAfterTheBytes(t *testing.T) {
	for _, first := range []ClosedBy{ClosedByClient, ClosedByTarget} {
		t.Run(string(first)+" resets", func(t *testing.T) {
			eachRelay(t, bothReset, func(t *testing.T, tt *testTunnel) {
				tt.start(Limits{})
				breaks, stays, moved := tt.client, tt.target, func() int64 { up, _ := tt.relay.Counts(); return up }
				if first == ClosedByTarget {
					breaks, stays, moved = tt.target, tt.client, func() int64 { _, down := tt.relay.Counts(); return down }
				}
				testkit.Send(t, breaks, "last words")
				testkit.Eventually(t, "the last words are written", func() bool { return moved() == 10 })
				testkit.Reset(breaks)
				testkit.ExpectReset(t, stays, "last words")
				tt.waitBroken(first)
			})
		})
	}
}

// A server that refuses an upload answers and closes with bytes unread, so that a write
// of the relay fails. The answer must still arrive.
func TestRelayRule3AnswerBeforeAResetArrives(t *testing.T) {
	eachRelay(t, bothReset, func(t *testing.T, tt *testTunnel) {
		testkit.Send(t, tt.target, "413 too large")
		tt.start(Limits{})
		written := make(chan error, 1)
		go func() { _, err := io.Copy(tt.client, testkit.Endless{}); written <- err }()
		testkit.Eventually(t, "an upload is on its way", func() bool { up, _ := tt.relay.Counts(); return up > 1<<15 })
		testkit.CloseUnread(tt.target)
		got, err := io.ReadAll(tt.client)
		if string(got) != "413 too large" {
			t.Errorf("read %q", got)
		}
		// The kernel reports a reset once: to the reader or to the writer.
		if err = errors.Join(err, <-written); !neterr.Reset(err) {
			t.Errorf("no reset, but %v", err)
		}
		tt.waitBroken(ClosedByTarget)
	})
}

// A half-close in place of the reset would make an incomplete answer look complete.
func TestRelayRule3BrokenTunnelIsNotHalfClosed(t *testing.T) {
	only := func(client, target connKind) bool { return client.name == "memory" && target.name == "memory" }
	eachRelay(t, only, func(t *testing.T, tt *testTunnel) {
		near := &halfCloseCounter{MemoryConn: tt.nearClient.(testkit.MemoryConn), broken: make(chan struct{})}
		tt.nearClient = near
		tt.start(Limits{})
		_ = tt.target.(testkit.MemoryConn).Conn.Close() // writes to it fail from here on
		testkit.Send(t, tt.client, "in vain")
		select {
		case <-near.broken:
		case <-time.After(testkit.Patience):
			t.Fatal("the failed write had no effect")
		}
		testkit.Send(t, tt.target, "an incompl")
		testkit.Expect(t, tt.client, "an incompl")
		testkit.HalfClose(t, tt.target)
		tt.waitBroken(ClosedByTarget)
		if times := near.times.Load(); times != 0 {
			t.Errorf("half-closed %d times", times)
		}
	})
}

type halfCloseCounter struct {
	testkit.MemoryConn
	times  atomic.Int32
	broken chan struct{} // closed when the relay stops reading
}

func (c *halfCloseCounter) SetReadDeadline(t time.Time) error {
	close(c.broken)
	return c.MemoryConn.SetReadDeadline(t)
}

func (c *halfCloseCounter) CloseWrite() error {
	c.times.Add(1)
	return c.MemoryConn.CloseWrite()
}

// A unix socket has no reset that could be passed on, but a close with unread bytes is
// a reset for the peer.
func TestRelayRule3ResetOfAUnixSocketIsReported(t *testing.T) {
	only := func(client, target connKind) bool { return client.name == "unix" && target.name == "unix" }
	eachRelay(t, only, func(t *testing.T, tt *testTunnel) {
		tt.start(Limits{})
		testkit.Send(t, tt.client, "never read")
		testkit.Send(t, tt.target, "last words")
		testkit.Eventually(t, "bytes are unread", func() bool { up, down := tt.relay.Counts(); return up+down == 20 })
		_ = tt.target.Close()
		testkit.ExpectLast(t, tt.client, "last words")
		tt.waitBroken(ClosedByTarget)
	})
}

func TestRelayRule4PeerThatCannotHalfCloseIsClosedAfterItsLastByte(t *testing.T) {
	for _, starter := range relayStarters {
		for _, client := range []connKind{kindTCP, kindTLS, kindMemory, kindPipe} {
			t.Run(starter.name+"/"+client.name, func(t *testing.T) {
				tt := &testTunnel{TB: t, launch: starter.start}
				tt.connect(client, kindPipe)
				tt.start(Limits{})
				go func() {
					_, _ = io.WriteString(tt.client, "the last byte")
					if half, ok := tt.client.(sock.HalfCloser); ok {
						_ = half.CloseWrite()
					} else {
						_ = tt.client.Close()
					}
				}()
				testkit.ExpectLast(t, tt.target, "the last byte")
				if client.halfCloses {
					testkit.ExpectLast(t, tt.client, "")
				}
				tt.waitFor(ClosedByClient)
			})
		}
	}
}

// The connection beneath stays open, so that only close_notify can be the end of file.
func TestRelayRule4TLSSaysCloseNotify(t *testing.T) {
	tls := func(_, target connKind) bool { return target.name == "tls" }
	eachRelay(t, tls, func(t *testing.T, tt *testTunnel) {
		tt.start(Limits{})
		testkit.HalfClose(t, tt.client)
		testkit.ExpectLast(t, tt.target, "")
		go func() { _, _ = io.WriteString(tt.target, "still open"); _ = tt.target.Close() }()
		testkit.ExpectLast(t, tt.client, "still open")
		tt.waitFor(ClosedByClient)
	})
}

func TestRelayRule7EndClosesBoth(t *testing.T) {
	eachRelay(t, nil, func(t *testing.T, tt *testTunnel) {
		tt.start(Limits{Idle: time.Hour, Linger: time.Hour})
		go func() { _, _ = io.Copy(tt.client, testkit.Endless{}) }() // a writer is stuck, too
		testkit.Expect(t, tt.target, string(make([]byte, 1<<20)))
		tt.relay.End(ClosedByRevoked)
		tt.relay.End(ClosedByDrain)
		tt.waitFor(ClosedByRevoked)
		tt.relay.End(ClosedByDrain)
		for _, conn := range []net.Conn{tt.client, tt.target} {
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("a peer was left open")
			}
		}
		select {
		case result := <-tt.results:
			t.Errorf("done was called again, with %+v", result)
		default:
		}
	})
}

func TestRelayRule8NothingIsLeftRunning(t *testing.T) {
	ends := map[string]func(*testTunnel){
		"end of file": func(tt *testTunnel) { _ = tt.client.Close(); testkit.HalfClose(tt, tt.target) },
		"end":         func(tt *testTunnel) { tt.relay.End(ClosedByDrain) },
		"half and end": func(tt *testTunnel) {
			testkit.HalfClose(tt, tt.client)
			testkit.ExpectLast(tt, tt.target, "")
			tt.relay.End(ClosedByDrain)
		},
		"reset": func(tt *testTunnel) {
			if sock.TCPOf(tt.target) == nil {
				tt.Skip("not a kind that resets")
			}
			testkit.Reset(tt.target)
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			eachRelay(t, nil, func(t *testing.T, tt *testTunnel) {
				client, target := countCloses(tt.nearClient), countCloses(tt.nearTarget)
				tt.nearClient, tt.nearTarget = client, target
				tt.start(Limits{Idle: time.Hour, Linger: time.Hour})
				end(tt)
				tt.wait()
				if a, b := client.closes(), target.closes(); a != 1 || b != 1 {
					t.Errorf("at done the conns had been closed %d and %d times", a, b)
				}
				testkit.Eventually(t, "no goroutine is in a relay", func() bool { return relayGoroutines() == 0 })
			})
		})
	}
}

// closeCounter counts the calls of Close on a conn of any kind.
type closeCounter interface {
	net.Conn
	closes() int32
}

func countCloses(conn net.Conn) closeCounter {
	if tcp, ok := conn.(sock.TCP); ok {
		return &countingTCP{TCP: tcp}
	}
	return &countingConn{Conn: conn}
}

// countingTCP is a connection whose socket the relay can use.
type countingTCP struct {
	sock.TCP
	times atomic.Int32
}

func (c *countingTCP) CloseWrite() error { return c.TCP.(sock.HalfCloser).CloseWrite() }
func (c *countingTCP) closes() int32     { return c.times.Load() }
func (c *countingTCP) Close() error {
	c.times.Add(1)
	return c.TCP.Close()
}

type countingConn struct {
	net.Conn
	times atomic.Int32
}

func (c *countingConn) CloseWrite() error { return c.Conn.(sock.HalfCloser).CloseWrite() }
func (c *countingConn) NetConn() net.Conn { return c.Conn }
func (c *countingConn) closes() int32     { return c.times.Load() }
func (c *countingConn) Close() error {
	c.times.Add(1)
	return c.Conn.Close()
}
