package h2

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

func TestStalledStreamStallsItselfAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams, handle := answered(t)
		c, p := against(t, Config{MaxStreams: 20}, handle)
		const stalled = 10
		for i := range uint32(stalled) {
			p.tunnel(2*i+1, streams)
			if p.send(2*i+1, false, make([]byte, 80<<10)) {
				t.Fatal("a stream that nobody reads took more than its window")
			}
		}
		s := p.tunnel(2*stalled+1, streams)
		go io.Copy(io.Discard, s)
		for range 3 * c.cfg.MaxBuffered >> 20 { // several times the window of the connection
			if !p.send(s.ID(), false, make([]byte, 1<<20)) {
				t.Fatal("a stream that is read stalls with the others")
			}
		}
		synctest.Wait()
		c.mu.Lock()
		defer c.mu.Unlock()
		if held := c.held(); held > stalled*c.cfg.StreamWindow {
			t.Errorf("%d bytes are held", held)
		}
	})
}

// held returns the number of unread bytes of all streams, without the rest of their chunks.
func (c *Conn) held() (n int) {
	for _, s := range c.streams {
		n += s.recv.size
	}
	return n
}

func TestCreditFollowsTheReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams, handle := answered(t)
		_, p := against(t, Config{}, handle)
		s := p.tunnel(1, streams)
		const window = 64 << 10
		if p.send(1, false, make([]byte, window+1)) {
			t.Fatal("more than the window was sent")
		}
		time.Sleep(time.Second) // a slow reader, so that the window does not grow
		before := p.window(1)
		if before != 0 {
			t.Fatalf("credit of %d for bytes that nobody read", before)
		}
		_, _ = io.ReadFull(s, make([]byte, window/2-1))
		synctest.Wait()
		if got := p.window(1); got != 0 {
			t.Fatalf("credit of %d comes in small change", got)
		}
		_, _ = io.ReadFull(s, make([]byte, 1))
		synctest.Wait()
		if got := p.window(1); got != window/2 {
			t.Fatalf("credit of %d for %d bytes read", got, window/2)
		}
	})
}

func TestWindowsGrowForFastReadersWithinTheBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams, handle := answered(t)
		c, p := against(t, Config{MaxStreams: 4, MaxBuffered: 3 << 20}, handle)
		total := 0
		var all []*Stream
		for i := range uint32(4) {
			s := p.tunnel(2*i+1, streams)
			all = append(all, s)
			for range 64 {
				if !p.send(s.ID(), false, make([]byte, 32<<10)) {
					t.Fatal("stalled")
				}
				_, _ = io.ReadFull(s, make([]byte, 32<<10))
			}
			synctest.Wait()
			p.send(s.ID(), false, make([]byte, 2<<20)) // which is not read
		}
		c.mu.Lock()
		for _, s := range c.streams {
			total += s.grant
		}
		held, surplus, first := c.held(), c.surplus, c.streams[1].grant
		c.mu.Unlock()
		if first != 1<<20 {
			t.Errorf("the first stream's window grew to %d", first)
		}
		if total+surplus+16*64<<10 != 3<<20 || surplus < 0 || held > total {
			t.Errorf("windows come to %d, %d are left, %d bytes are held", total, surplus, held)
		}
		for _, s := range all { // all bytes arrive
			s.Close()
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.surplus != 3<<20-20*64<<10 {
			t.Errorf("%d are left after all have ended", c.surplus)
		}
	})
}

func TestPaddingCountsInBothWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams, handle := answered(t)
		c, p := against(t, Config{}, handle)
		s := p.tunnel(1, streams)
		for range 100 {
			_ = p.WriteDataPadded(1, false, []byte("x"), make([]byte, 255))
		}
		synctest.Wait()
		c.mu.Lock()
		used, usedOfStream, unread := c.unreturned, 64<<10-s.recvWindow, s.recv.size
		credit := s.credit
		c.mu.Unlock()
		if used != 100*257 || usedOfStream != 100*257 || unread != 100 {
			t.Errorf("%d of the connection's window and %d of the stream's are used, %d bytes unread", used, usedOfStream, unread)
		}
		if credit != 100*256 {
			t.Errorf("padding gave %d of credit", credit)
		}
		_ = p.WriteDataPadded(1, true, nil, make([]byte, 255))
		if got := readAll(t, s); got != strings.Repeat("x", 100) {
			t.Errorf("read %d bytes", len(got))
		}
		s.Close()
	})
}

func TestWindowsMoveWithSettingsAlsoBelowZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := clientOf(t, Config{})
		s := open(t, c, p, connect...)
		defer s.Close()
		_ = s.SetWriteDeadline(time.Now().Add(time.Second))
		if n, err := s.Write(make([]byte, 70000)); n != leastWindow || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%d, %v", n, err)
		}
		_ = p.WriteWindowUpdate(0, 1<<20)
		wrote := func(window uint32, update uint32) int {
			t.Helper()
			p.all()
			_ = p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window})
			if update > 0 {
				_ = p.WriteWindowUpdate(1, update)
			}
			synctest.Wait()
			_ = s.SetWriteDeadline(time.Now().Add(time.Second))
			n, _ := s.Write(make([]byte, 10000))
			return n
		}
		steps := []struct {
			window, update uint32
			want           int
		}{
			{100, 0, 0},           // the window is 100-65535
			{100, 65435, 0},       // the window is 0
			{101, 0, 1},           // one byte
			{0, 0, 0},             // the window is -101
			{0, 201, 100},         // the window is 100
			{1<<31 - 1, 0, 10000}, // almost the largest possible
		}
		for i, step := range steps {
			if got := wrote(step.window, step.update); got != step.want {
				t.Fatalf("step %d: %d bytes went, want %d", i, got, step.want)
			}
		}
	})
}

func TestSettingsMayNotPassTheGreatestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := clientOf(t, Config{})
		open(t, c, p, connect...)
		_ = p.WriteWindowUpdate(1, 1<<31-1-leastWindow)
		_ = p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: leastWindow + 1})
		if code := p.goAway(); code != CodeFlowControl {
			t.Fatalf("the connection ended with %v", code)
		}
	})
}

func TestStreamsTakeTurnsAtFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := clientOf(t, Config{}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
		synctest.Wait()
		const writers = 4
		for range writers {
			s, err := c.Open(t.Context(), fields(connect...), false)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			go s.Write(make([]byte, 256<<10)) // the window of the connection closes at 64 KiB
			synctest.Wait()
		}
		_ = p.WriteWindowUpdate(0, 1<<20)
		synctest.Wait()
		bytes := map[uint32]int{}
		for _, f := range p.all() {
			if f.Type != http2.FrameData {
				continue
			}
			if len(f.data) > dataFrame {
				t.Fatalf("a frame of %d bytes", len(f.data))
			}
			bytes[f.Stream] += len(f.data)
			for id := uint32(3); id < 2*writers; id += 2 {
				// Stream 1 had the whole first window.
				if ahead := bytes[f.Stream] - bytes[id]; f.Stream != 1 && ahead > 2*dataFrame && bytes[id] < 256<<10 {
					t.Fatalf("stream %d is %d bytes ahead of stream %d", f.Stream, ahead, id)
				}
			}
		}
		for id := uint32(1); id < 2*writers; id += 2 {
			if bytes[id] != 256<<10 {
				t.Errorf("stream %d sent %d bytes", id, bytes[id])
			}
		}
	})
}

func TestWritesThatMeetGoOutAsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		counted := &countedConn{Conn: ours}
		c := Client(counted, Config{})
		defer func() { c.Close(); c.Wait() }()
		synctest.Wait() // the write of the preface waits for a reader
		_ = http2.NewFramer(theirs, nil).WriteSettings()
		_, _ = c.PeerSettings(t.Context())
		for range 50 {
			s, err := c.Open(t.Context(), fields(connect...), false)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = s.Write([]byte("hello"))
		}
		p := newPeer(t, theirs, false)
		_, _ = io.ReadFull(theirs, make([]byte, len(Preface)))
		go p.read()
		synctest.Wait()
		counted.mu.Lock()
		defer counted.mu.Unlock()
		if frames := p.all(); len(frames) < 100 || counted.writes != 2 {
			t.Fatalf("%d frames went out in %d writes, want 2", len(frames), counted.writes)
		}
	})
}

// ownGoroutines counts the goroutines of this package. The runtime sometimes has some of its
// own, for example for finalizers.
func ownGoroutines() (n int) {
	stacks := make([]byte, 1<<16)
	for {
		if size := runtime.Stack(stacks, true); size < len(stacks) {
			stacks = stacks[:size]
			break
		}
		stacks = make([]byte, 2*len(stacks))
	}
	for stack := range bytes.SplitSeq(stacks, []byte("\n\n")) {
		if bytes.Contains(stack, []byte("/internal/h2.")) {
			n++
		}
	}
	return n
}

func TestSilentStreamsHoldNeitherBuffersNorGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams, handle := answered(t)
		c, p := against(t, Config{}, handle)
		synctest.Wait()
		before := ownGoroutines()
		for i := range uint32(100) {
			s := p.tunnel(2*i+1, streams)
			if !p.send(s.ID(), false, make([]byte, 50000)) {
				t.Fatal("stalled")
			}
			_, _ = io.ReadFull(s, make([]byte, 50000))
			_, _ = s.Write(make([]byte, 100))
			p.next(http2.FrameData)
		}
		_ = p.WritePing(false, [8]byte{}) // a small read, after which the input shrinks
		synctest.Wait()
		if now := ownGoroutines(); now > before { // there may be fewer, once those of other tests have ended
			t.Errorf("%d goroutines for 100 silent streams", now-before)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.out != nil || c.spare != nil || c.in.big != nil {
			t.Error("the connection holds buffers")
		}
		for id, s := range c.streams {
			if s.recv.first != nil || s.pending != nil {
				t.Errorf("stream %d holds a buffer", id)
			}
		}
	})
}
