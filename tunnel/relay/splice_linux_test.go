package relay

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/testkit"

	"golang.org/x/sys/unix"
)

// launchWith returns a function that starts a relay with pipes from pool.
func launchWith(pool pipePool) func(client, target Side, limits Limits, done func(Result)) Running {
	return func(client, target Side, limits Limits, done func(Result)) Running {
		r := newRelay(client, target, limits, done)
		r.up.socket.pipes, r.down.socket.pipes = pool, pool
		r.begin()
		return r
	}
}

// testPool returns a pool that is emptied after the test.
func testPool(t *testing.T) *sock.Pipes {
	pool := new(sock.Pipes)
	t.Cleanup(func() {
		for _, free := pool.Counts(); free > 0; free-- {
			pool.Put(pool.Get(), 1)
		}
	})
	return pool
}

func TestRelaySplicesBetweenSockets(t *testing.T) {
	tests := []struct {
		client, target connKind
		splices        bool
	}{
		{kindTCP, kindTCP, true},
		{kindUnix, kindTCP, true},
		{kindUnix, kindUnix, true},
		{kindTLS, kindTCP, false},
		{kindTCP, kindHidden, false},
	}
	for _, test := range tests {
		t.Run(test.client.name+" to "+test.target.name, func(t *testing.T) {
			pool := testPool(t)
			tt := &testTunnel{TB: t, launch: launchWith(pool)}
			tt.connect(test.client, test.target)
			tt.start(Limits{Idle: time.Hour, Linger: time.Hour})
			const size = 16 << 20
			exchange(t, tt, size)
			if result := tt.wait(); result.Up != size || result.Down != size || result.Err != nil {
				t.Errorf("%+v", result)
			}
			all, free := pool.Counts()
			if all != free || (all > 0) != test.splices {
				t.Errorf("%d pipes were used and %d given back; splices: %v", all, free, test.splices)
			}
		})
	}
}

// What a person types needs no pipe.
func TestRelaySmallPiecesNeedNoPipe(t *testing.T) {
	pool := testPool(t)
	tt := &testTunnel{TB: t, launch: launchWith(pool)}
	tt.connect(kindTCP, kindTCP)
	tt.start(Limits{})
	for range 100 {
		testkit.Send(t, tt.client, "x")
		testkit.Expect(t, tt.target, "x")
	}
	if all, _ := pool.Counts(); all != 0 {
		t.Errorf("%d pipes were opened", all)
	}
}

func TestRelayIdleTunnelHoldsTwoDescriptors(t *testing.T) {
	pool := testPool(t)
	tt := &testTunnel{TB: t, launch: launchWith(pool)}
	tt.connect(kindTCP, kindTCP)
	before := openDescriptors(t) // including the two of the relay
	tt.start(Limits{Idle: time.Hour})
	text := string(make([]byte, 4<<20))
	go func() { _, _ = io.WriteString(tt.client, text) }()
	testkit.Expect(t, tt.target, text)
	go func() { _, _ = io.WriteString(tt.target, text) }()
	testkit.Expect(t, tt.client, text)
	testkit.Eventually(t, "every pipe is given back", func() bool { all, free := pool.Counts(); return all > 0 && all == free })
	all, _ := pool.Counts()
	if after := openDescriptors(t) - 2*all; after > before {
		t.Errorf("the idle tunnel holds %d descriptors", 2+after-before)
	}
}

// Bytes that were received before a reset are still in the relay's send queue when the
// reset comes: they must leave before it is passed on.
func TestRelayRule3QueuedBytesLeaveBeforeTheReset(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	slow := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4096) })
	}}
	tt := &testTunnel{TB: t, launch: startChecking}
	tt.connect(kindTCP, kindTCP)
	if tt.client, err = slow.DialContext(t.Context(), "tcp", listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	defer tt.client.Close()
	_ = tt.nearClient.Close()
	if tt.nearClient, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	near := sock.TCPOf(tt.nearClient)
	_ = near.(*net.TCPConn).SetWriteBuffer(1 << 20)
	tt.start(Limits{grace: testkit.Patience})
	text := string(make([]byte, 100_000))
	testkit.Send(t, tt.target, text)
	testkit.Eventually(t, "all is written", func() bool { _, down := tt.relay.Counts(); return down == int64(len(text)) })
	if !queued(near) {
		t.Fatal("nothing is queued: this test would test nothing")
	}
	testkit.Reset(tt.target)
	testkit.ExpectReset(t, tt.client, text)
	tt.waitBroken(ClosedByTarget)
}

// The relay does not read from a side after its end of file, nor write to it while the
// other side is silent. Its reset must be noticed all the same.
func TestRelayRule3ResetAfterAHalfCloseIsSeen(t *testing.T) {
	eachRelay(t, bothReset, func(t *testing.T, tt *testTunnel) {
		tt.start(Limits{})
		testkit.HalfClose(t, tt.target)
		testkit.ExpectLast(t, tt.client, "")
		testkit.Reset(tt.target)
		tt.waitBroken(ClosedByTarget)
	})
}

// The relay does not read from a side either while its bytes wait for a peer that does
// not read. The bytes get some time to arrive, but not for ever.
func TestRelayRule3ResetBehindAStalledPeerIsSeen(t *testing.T) {
	eachRelay(t, bothReset, func(t *testing.T, tt *testTunnel) {
		tt.start(Limits{grace: 20 * time.Millisecond})
		go func() { _, _ = io.Copy(tt.target, testkit.Endless{}) }()
		stalled(tt)
		testkit.Reset(tt.target)
		tt.waitBroken(ClosedByTarget)
		if _, err := io.Copy(io.Discard, tt.client); !neterr.Reset(err) {
			t.Errorf("no reset, but %v", err)
		}
	})
}

func TestRelayManyEndedAtRandomLeaveNothing(t *testing.T) {
	pool := testPool(t)
	near, far := testkit.TCPPair(t) // the first connection makes the runtime open descriptors of its own
	_, _ = near.Close(), far.Close()
	before := openDescriptors(t)
	var all sync.WaitGroup
	var tunnels []*testTunnel
	for i := range 200 {
		tt := &testTunnel{TB: t, launch: launchWith(pool)}
		tt.connect(kindTCP, kindTCP)
		tt.start(Limits{Idle: time.Hour, Linger: time.Hour})
		for _, pair := range [][2]net.Conn{{tt.client, tt.target}, {tt.target, tt.client}} {
			all.Go(func() {
				_, _ = io.Copy(pair[0], io.LimitReader(testkit.Endless{}, rand.Int64N(1<<22)))
				endSomehow(tt, i)
			})
			all.Go(func() { _, _ = io.Copy(io.Discard, io.LimitReader(pair[1], rand.Int64N(1<<22))); endSomehow(tt, i) })
		}
		tunnels = append(tunnels, tt)
	}
	for _, tt := range tunnels {
		tt.wait()
		_ = tt.client.Close()
		_ = tt.target.Close()
	}
	all.Wait()
	testkit.Eventually(t, "no goroutine is in a relay", func() bool { return relayGoroutines() == 0 })
	open, free := pool.Counts()
	if open != free {
		t.Errorf("%d of %d pipes were not given back", open-free, open)
	}
	for range free {
		pool.Put(pool.Get(), 1)
	}
	if after := openDescriptors(t); after > before {
		t.Errorf("%d descriptors are left open", after-before)
	}
}

func endSomehow(tt *testTunnel, i int) {
	switch i % 4 {
	case 0:
		tt.relay.End(ClosedByDrain)
	case 1:
		_ = tt.client.Close()
		_ = tt.target.Close()
	case 2:
		testkit.Reset(tt.target)
	case 3:
		testkit.Reset(tt.client)
	}
}
