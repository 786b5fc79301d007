package tunnel

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
)

func TestRelayRule1EarlyBytesGoFirst(t *testing.T) {
	eachRelay(t, nil, func(t *testing.T, tt *testTunnel) {
		tt.startEarly(relayLimits{}, []byte("early up, "), []byte("early down, "))
		expect(t, tt.target, "early up, ")
		expect(t, tt.client, "early down, ")
		send(t, tt.client, "late up")
		send(t, tt.target, "late down")
		expect(t, tt.target, "late up")
		expect(t, tt.client, "late down")
		tt.relay.end(ClosedByDrain)
		if result := tt.waitFor(ClosedByDrain); result.up != 17 || result.down != 21 {
			t.Errorf("counted %d up and %d down, want 17 and 21", result.up, result.down)
		}
	})
}

// Early bytes are held back behind nothing: not even the client's first byte.
func TestRelayRule1EarlyBytesOfOneSideDoNotWaitForTheOther(t *testing.T) {
	eachRelay(t, nil, func(t *testing.T, tt *testTunnel) {
		tt.startEarly(relayLimits{}, nil, []byte("SSH-2.0-banner\r\n"))
		expect(t, tt.client, "SSH-2.0-banner\r\n")
	})
}

func TestRelayRule2HalfCloseIsPassedOn(t *testing.T) {
	answer := strings.Repeat("an answer longer than any buffer on its way; ", 20_000)
	for _, first := range []ClosedBy{ClosedByClient, ClosedByTarget} {
		t.Run(string(first)+" first", func(t *testing.T) {
			eachRelay(t, nil, func(t *testing.T, tt *testTunnel) {
				tt.start(relayLimits{linger: time.Hour})
				asks, answers := tt.client, tt.target
				if first == ClosedByTarget {
					asks, answers = answers, asks
				}
				go func() {
					_, _ = io.WriteString(asks, "a question")
					_ = asks.(halfCloser).CloseWrite()
				}()
				expectLast(t, answers, "a question")
				go func() {
					_, _ = io.WriteString(answers, answer)
					_ = answers.(halfCloser).CloseWrite()
				}()
				expectLast(t, asks, answer)
				result := tt.waitFor(first)
				if result.up+result.down != int64(len(answer)+len("a question")) {
					t.Errorf("counted %d and %d", result.up, result.down)
				}
			})
		})
	}
}

func TestRelayRule3ResetIsPassedOnAfterTheBytes(t *testing.T) {
	for _, first := range []ClosedBy{ClosedByClient, ClosedByTarget} {
		t.Run(string(first)+" resets", func(t *testing.T) {
			eachRelay(t, bothReset, func(t *testing.T, tt *testTunnel) {
				tt.start(relayLimits{})
				breaks, stays, moved := tt.client, tt.target, func() int64 { up, _ := tt.relay.counts(); return up }
				if first == ClosedByTarget {
					breaks, stays, moved = tt.target, tt.client, func() int64 { _, down := tt.relay.counts(); return down }
				}
				send(t, breaks, "last words")
				eventually(t, "the last words are written", func() bool { return moved() == 10 })
				reset(breaks)
				expectReset(t, stays, "last words")
				tt.waitBroken(first)
			})
		})
	}
}

// A server that refuses an upload: it answers, and closes with bytes unread,
// so that our write fails. The answer must not be lost over that.
func TestRelayRule3AnswerBeforeAResetArrives(t *testing.T) {
	eachRelay(t, bothReset, func(t *testing.T, tt *testTunnel) {
		send(t, tt.target, "413 too large")
		tt.start(relayLimits{})
		written := make(chan error, 1)
		go func() { _, err := io.Copy(tt.client, endless{}); written <- err }()
		eventually(t, "an upload is on its way", func() bool { up, _ := tt.relay.counts(); return up > 1<<15 })
		closeUnread(tt.target)
		got, err := io.ReadAll(tt.client)
		if string(got) != "413 too large" {
			t.Errorf("read %q", got)
		}
		// The kernel tells of a reset once: to the reader or to the writer.
		if err = errors.Join(err, <-written); !neterr.Reset(err) {
			t.Errorf("no reset, but %v", err)
		}
		tt.waitBroken(ClosedByTarget)
	})
}

// A half-close in place of the reset would make a torn answer look whole.
func TestRelayRule3BrokenTunnelIsNotHalfClosed(t *testing.T) {
	only := func(client, target connKind) bool { return client.name == "memory" && target.name == "memory" }
	eachRelay(t, only, func(t *testing.T, tt *testTunnel) {
		near := &halfCloseCounter{memoryConn: tt.nearClient.(memoryConn), broken: make(chan struct{})}
		tt.nearClient = near
		tt.start(relayLimits{})
		_ = tt.target.(memoryConn).Conn.Close() // it reads no more, and says so
		send(t, tt.client, "in vain")
		select {
		case <-near.broken:
		case <-time.After(testPatience):
			t.Fatal("the failed write has no consequence")
		}
		send(t, tt.target, "a torn ans")
		expect(t, tt.client, "a torn ans")
		halfClose(t, tt.target)
		tt.waitBroken(ClosedByTarget)
		if times := near.times.Load(); times != 0 {
			t.Errorf("half-closed %d times", times)
		}
	})
}

type halfCloseCounter struct {
	memoryConn
	times  atomic.Int32
	broken chan struct{} // closed once the relay wants to read no more
}

func (c *halfCloseCounter) SetReadDeadline(t time.Time) error {
	close(c.broken)
	return c.memoryConn.SetReadDeadline(t)
}

func (c *halfCloseCounter) CloseWrite() error {
	c.times.Add(1)
	return c.memoryConn.CloseWrite()
}

// A unix socket has no reset to pass on, but closes with bytes unread are one
// to the peer.
func TestRelayRule3ResetOfAUnixSocketIsReported(t *testing.T) {
	only := func(client, target connKind) bool { return client.name == "unix" && target.name == "unix" }
	eachRelay(t, only, func(t *testing.T, tt *testTunnel) {
		tt.start(relayLimits{})
		send(t, tt.client, "never read")
		send(t, tt.target, "last words")
		eventually(t, "bytes are unread", func() bool { up, down := tt.relay.counts(); return up+down == 20 })
		_ = tt.target.Close()
		expectLast(t, tt.client, "last words")
		tt.waitBroken(ClosedByTarget)
	})
}

func TestRelayRule4PeerThatCannotHalfCloseIsClosedAfterItsLastByte(t *testing.T) {
	for _, starter := range relayStarters {
		for _, client := range []connKind{kindTCP, kindTLS, kindMemory, kindPipe} {
			t.Run(starter.name+"/"+client.name, func(t *testing.T) {
				tt := &testTunnel{TB: t, launch: starter.start}
				tt.connect(client, kindPipe)
				tt.start(relayLimits{})
				go func() {
					_, _ = io.WriteString(tt.client, "the last byte")
					if half, ok := tt.client.(halfCloser); ok {
						_ = half.CloseWrite()
					} else {
						_ = tt.client.Close()
					}
				}()
				expectLast(t, tt.target, "the last byte")
				if client.halfCloses {
					expectLast(t, tt.client, "")
				}
				tt.waitFor(ClosedByClient)
			})
		}
	}
}

// The conn beneath stays open, so that only a close_notify can be the end.
func TestRelayRule4TLSSaysCloseNotify(t *testing.T) {
	tls := func(_, target connKind) bool { return target.name == "tls" }
	eachRelay(t, tls, func(t *testing.T, tt *testTunnel) {
		tt.start(relayLimits{})
		halfClose(t, tt.client)
		expectLast(t, tt.target, "")
		go func() { _, _ = io.WriteString(tt.target, "still open"); _ = tt.target.Close() }()
		expectLast(t, tt.client, "still open")
		tt.waitFor(ClosedByClient)
	})
}

func TestRelayRule7EndClosesBoth(t *testing.T) {
	eachRelay(t, nil, func(t *testing.T, tt *testTunnel) {
		tt.start(relayLimits{idle: time.Hour, linger: time.Hour})
		go func() { _, _ = io.Copy(tt.client, endless{}) }() // a writer is stuck, too
		expect(t, tt.target, string(make([]byte, 1<<20)))
		tt.relay.end(ClosedByRevoked)
		tt.relay.end(ClosedByDrain)
		tt.waitFor(ClosedByRevoked)
		tt.relay.end(ClosedByDrain)
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
		"end of file": func(tt *testTunnel) { _ = tt.client.Close(); halfClose(tt, tt.target) },
		"end":         func(tt *testTunnel) { tt.relay.end(ClosedByDrain) },
		"half and end": func(tt *testTunnel) {
			halfClose(tt, tt.client)
			expectLast(tt, tt.target, "")
			tt.relay.end(ClosedByDrain)
		},
		"reset": func(tt *testTunnel) {
			if tcpOf(tt.target) == nil {
				tt.Skip("not a kind that resets")
			}
			reset(tt.target)
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			eachRelay(t, nil, func(t *testing.T, tt *testTunnel) {
				client, target := countCloses(tt.nearClient), countCloses(tt.nearTarget)
				tt.nearClient, tt.nearTarget = client, target
				tt.start(relayLimits{idle: time.Hour, linger: time.Hour})
				end(tt)
				tt.wait()
				if a, b := client.closes(), target.closes(); a != 1 || b != 1 {
					t.Errorf("at done the conns had been closed %d and %d times", a, b)
				}
				eventually(t, "no goroutine is in a relay", func() bool { return relayGoroutines() == 0 })
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
	if tcp, ok := conn.(tcpConn); ok {
		return &countingTCP{tcpConn: tcp}
	}
	return &countingConn{Conn: conn}
}

// countingTCP lets the relay see the socket.
type countingTCP struct {
	tcpConn
	times atomic.Int32
}

func (c *countingTCP) CloseWrite() error { return c.tcpConn.(halfCloser).CloseWrite() }
func (c *countingTCP) closes() int32     { return c.times.Load() }
func (c *countingTCP) Close() error {
	c.times.Add(1)
	return c.tcpConn.Close()
}

type countingConn struct {
	net.Conn
	times atomic.Int32
}

func (c *countingConn) CloseWrite() error { return c.Conn.(halfCloser).CloseWrite() }
func (c *countingConn) NetConn() net.Conn { return c.Conn }
func (c *countingConn) closes() int32     { return c.times.Load() }
func (c *countingConn) Close() error {
	c.times.Add(1)
	return c.Conn.Close()
}
