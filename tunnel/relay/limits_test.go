package relay

import (
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/testkit"
)

// inBubble runs test with every relay over connections in memory. Time passes only when
// all goroutines wait.
func inBubble(t *testing.T, test func(t *testing.T, tt *testTunnel)) {
	t.Helper()
	for _, starter := range relayStarters {
		t.Run(starter.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt := &testTunnel{TB: t, launch: starter.start}
				tt.nearClient, tt.client = testkit.MemoryPair(t)
				tt.nearTarget, tt.target = testkit.MemoryPair(t)
				test(t, tt)
			})
		})
	}
}

// elapsed waits for the end of the relay, and returns how long after since that was.
func (tt *testTunnel) elapsed(since time.Time, by ClosedBy) time.Duration {
	tt.Helper()
	result := <-tt.results
	if result.ClosedBy != by || result.Err != nil {
		tt.Errorf("closed by %q with error %v, want %q and none", result.ClosedBy, result.Err, by)
	}
	return time.Since(since)
}

func TestRelayRule5LingerBoundsTheSecondHalf(t *testing.T) {
	inBubble(t, func(t *testing.T, tt *testTunnel) {
		tt.start(Limits{Linger: time.Minute})
		time.Sleep(time.Hour) // neither way has ended: there is no limit
		start := time.Now()
		testkit.HalfClose(t, tt.target)
		if got := tt.elapsed(start, ClosedByLinger); got != time.Minute {
			t.Errorf("ended after %v, want 1m", got)
		}
	})
}

func TestRelayRule5ProgressRestartsLinger(t *testing.T) {
	inBubble(t, func(t *testing.T, tt *testTunnel) {
		tt.start(Limits{Linger: time.Minute})
		go func() { _, _ = io.Copy(io.Discard, tt.client) }()
		start := time.Now()
		testkit.HalfClose(t, tt.client)
		for range 10 {
			time.Sleep(59 * time.Second)
			testkit.Send(t, tt.target, "more")
		}
		if got, want := tt.elapsed(start, ClosedByLinger), 10*59*time.Second+time.Minute; got != want {
			t.Errorf("ended after %v, want %v", got, want)
		}
	})
}

// Bytes that are not read are no progress.
func TestRelayRule5StalledHalfIsNoProgress(t *testing.T) {
	inBubble(t, func(t *testing.T, tt *testTunnel) {
		tt.start(Limits{Linger: time.Minute})
		start := time.Now()
		testkit.HalfClose(t, tt.client)
		go func() { _, _ = io.Copy(tt.target, testkit.Endless{}) }()
		if got := tt.elapsed(start, ClosedByLinger); got != time.Minute {
			t.Errorf("ended after %v, want 1m", got)
		}
	})
}

func TestRelayRule6IdleMeansBothWaysSilent(t *testing.T) {
	for _, writer := range []ClosedBy{ClosedByClient, ClosedByTarget} {
		t.Run("only the "+string(writer)+" writes", func(t *testing.T) {
			inBubble(t, func(t *testing.T, tt *testTunnel) {
				tt.start(Limits{Idle: time.Minute})
				writes, reads := tt.client, tt.target
				if writer == ClosedByTarget {
					writes, reads = reads, writes
				}
				go func() { _, _ = io.Copy(io.Discard, reads) }()
				start := time.Now()
				for range 10 {
					time.Sleep(59 * time.Second)
					testkit.Send(t, writes, "keep")
				}
				if got, want := tt.elapsed(start, ClosedByIdle), 10*59*time.Second+time.Minute; got != want {
					t.Errorf("ended after %v, want %v", got, want)
				}
			})
		})
	}
}

func TestRelayRule6IdleAlsoBoundsHalfATunnel(t *testing.T) {
	inBubble(t, func(t *testing.T, tt *testTunnel) {
		tt.start(Limits{Idle: time.Minute, Linger: time.Hour})
		start := time.Now()
		testkit.HalfClose(t, tt.client)
		if got := tt.elapsed(start, ClosedByIdle); got != time.Minute {
			t.Errorf("ended after %v, want 1m", got)
		}
	})
}

func TestRelayWithoutLimitsStaysOpen(t *testing.T) {
	inBubble(t, func(t *testing.T, tt *testTunnel) {
		tt.start(Limits{})
		testkit.HalfClose(t, tt.client)
		time.Sleep(1000 * time.Hour)
		go func() { testkit.Send(t, tt.target, "still here"); _ = tt.target.Close() }()
		testkit.ExpectLast(t, tt.client, "still here")
		tt.elapsed(time.Now(), ClosedByClient)
	})
}

// The end of a relay must not wait for its timer.
func TestRelayRule8NoTimerOutlivesTheRelay(t *testing.T) {
	inBubble(t, func(t *testing.T, tt *testTunnel) {
		tt.start(Limits{Idle: time.Hour, Linger: time.Minute})
		start := time.Now()
		_ = tt.client.Close()
		_ = tt.target.Close()
		if result := <-tt.results; time.Since(start) != 0 || result.Err != nil {
			t.Errorf("over after %v with error %v", time.Since(start), result.Err)
		}
	})
}

// A deadline left over from the handshake must not end the tunnel.
func TestRelayForgetsOldDeadlines(t *testing.T) {
	inBubble(t, func(t *testing.T, tt *testTunnel) {
		_ = tt.nearClient.SetDeadline(time.Now().Add(time.Second))
		_ = tt.nearTarget.SetDeadline(time.Now().Add(time.Second))
		tt.start(Limits{})
		time.Sleep(time.Hour)
		go func() { testkit.Send(t, tt.client, "late") }()
		testkit.Expect(t, tt.target, "late")
		tt.relay.End(ClosedByDrain)
		tt.elapsed(time.Now(), ClosedByDrain)
	})
}

// Odd sizes go both ways at once, to readers that read little at a time.
func TestRelayRule9CountsAndBytesAreExact(t *testing.T) {
	const size = 4<<20 + 13
	eachRelay(t, nil, func(t *testing.T, tt *testTunnel) {
		tt.start(Limits{Idle: time.Hour})
		exchange(t, tt, size)
		if result := tt.wait(); result.Up != size || result.Down != size || result.Err != nil {
			t.Errorf("counted %d up, %d down, error %v; want %d each", result.Up, result.Down, result.Err, size)
		}
	})
}

// exchange sends size random bytes each way, and compares their checksums.
func exchange(t *testing.T, tt *testTunnel, size int64) {
	t.Helper()
	sums := make(chan [2][sha256.Size]byte, 2)
	way := func(from, to net.Conn, seed byte) {
		var sum [2][sha256.Size]byte
		sent := make(chan [sha256.Size]byte, 1)
		go func() { sent <- sendRandom(from, size, seed) }()
		sum[0] = receiveSum(to, seed+1)
		sum[1] = <-sent
		sums <- sum
	}
	go way(tt.client, tt.target, 1)
	go way(tt.target, tt.client, 3)
	for range 2 {
		if sum := <-sums; sum[0] != sum[1] {
			t.Errorf("received %x, but sent %x", sum[0], sum[1])
		}
	}
}

// sendRandom writes size bytes in pieces of random sizes, and half-closes.
func sendRandom(to net.Conn, size int64, seed byte) (sum [sha256.Size]byte) {
	source := rand.NewChaCha8([sha256.Size]byte{seed})
	dice := rand.New(source)
	hash, piece := sha256.New(), make([]byte, 256<<10)
	for size > 0 {
		b := piece[:min(size, 1+dice.Int64N(int64(len(piece))))]
		_, _ = source.Read(b)
		n, err := to.Write(b)
		hash.Write(b[:n])
		if size -= int64(n); err != nil {
			break
		}
	}
	_ = to.(sock.HalfCloser).CloseWrite()
	return [sha256.Size]byte(hash.Sum(nil))
}

// receiveSum reads to the end in pieces of random sizes.
func receiveSum(from net.Conn, seed byte) [sha256.Size]byte {
	dice := rand.New(rand.NewChaCha8([sha256.Size]byte{seed}))
	hash, piece := sha256.New(), make([]byte, 32<<10)
	for {
		n, err := from.Read(piece[:1+dice.IntN(len(piece))])
		hash.Write(piece[:n])
		if err != nil {
			return [sha256.Size]byte(hash.Sum(nil))
		}
	}
}

func TestRelayRule10OurOwnCloseIsNoError(t *testing.T) {
	eachRelay(t, nil, func(t *testing.T, tt *testTunnel) {
		tt.start(Limits{})
		// Both ways are in full motion when the end comes.
		go func() { _, _ = io.Copy(tt.client, testkit.Endless{}) }()
		go func() { _, _ = io.Copy(tt.target, testkit.Endless{}) }()
		go func() { _, _ = io.Copy(io.Discard, tt.client) }()
		go func() { _, _ = io.Copy(io.Discard, tt.target) }()
		testkit.Eventually(t, "both ways move", func() bool { up, down := tt.relay.Counts(); return min(up, down) > 1<<20 })
		tt.relay.End(ClosedByDrain)
		tt.waitFor(ClosedByDrain)
	})
}

// Both sides have sent everything. If one of them is gone before its end of file
// arrives, no bytes are lost.
func TestRelayRule10PeerGoneBeforeTheLastEndOfFileIsNoError(t *testing.T) {
	inBubble(t, func(t *testing.T, tt *testTunnel) {
		tt.nearClient = deafConn{tt.nearClient.(testkit.MemoryConn)}
		tt.start(Limits{})
		testkit.HalfClose(t, tt.client)
		testkit.ExpectLast(t, tt.target, "")
		testkit.HalfClose(t, tt.target)
		tt.waitFor(ClosedByClient)
	})
}

// deafConn fails to send end of file.
type deafConn struct{ testkit.MemoryConn }

func (deafConn) CloseWrite() error { return io.ErrClosedPipe }

// A client that fills a tunnel whose target does not read has to wait. What it sent
// arrives when the target reads after all.
func TestRelayRule11MemoryIsBoundedWhenOneSideDoesNotRead(t *testing.T) {
	const most = 32 << 20 // the most that the kernel's queues hold
	const size = most + 8<<20
	eachRelay(t, nil, func(t *testing.T, tt *testTunnel) {
		tt.start(Limits{})
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var taken atomic.Int64
		go func() {
			piece := make([]byte, 64<<10)
			for taken.Load() < size {
				n, err := tt.client.Write(piece)
				if taken.Add(int64(n)); err != nil {
					return
				}
			}
			_ = tt.client.(sock.HalfCloser).CloseWrite()
		}()
		// A connection in memory has no queue, so that not a byte gets through.
		if _, ok := tt.target.(testkit.MemoryConn); !ok {
			stalled(tt)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if sent := taken.Load(); sent > most {
			t.Errorf("%d bytes were taken from the client while the target read none", sent)
		}
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 {
			t.Errorf("the heap grew by %d bytes", grown)
		}
		if got, err := io.Copy(io.Discard, tt.target); got != size || err != nil {
			t.Errorf("read %d bytes, %v", got, err)
		}
		_ = tt.target.Close()
		if result := tt.waitFor(ClosedByClient); result.Up != size {
			t.Errorf("counted %d bytes", result.Up)
		}
	})
}

// A timer that fires while the directions leave must not be left running, and must not
// finish the relay a second time.
func TestRelayRule8TimerOnItsWayIsWaitedFor(t *testing.T) {
	results := make(chan Result, 2)
	near, _ := net.Pipe()
	r := newRelay(Side{Conn: near}, Side{Conn: near}, Limits{}, func(result Result) { results <- result })
	fired := make(chan struct{})
	r.timer, r.armed = time.AfterFunc(0, func() { close(fired) }), true
	<-fired
	r.leave()
	r.leave()
	if len(results) != 0 {
		t.Fatal("done was called before the timer had left")
	}
	r.tick()
	if len(results) != 1 {
		t.Fatalf("done was called %d times", len(results))
	}
}
