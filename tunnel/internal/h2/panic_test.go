package h2

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"culvert/tunnel/internal/panics"
)

// panicConn panics where it is told to.
type panicConn struct {
	net.Conn
	mu          sync.Mutex
	read, write bool
}

func (c *panicConn) panics(read, write bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read, c.write = read, write
}

func (c *panicConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.read {
		panic("a bug of reading")
	}
	return n, err
}

func (c *panicConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.write {
		panic("a bug of writing")
	}
	return c.Conn.Write(b)
}

// A panic of the goroutine that reads, or of the one that writes, ends the connection
// and its streams, and leaves nothing behind.
func TestPanicEndsTheConnection(t *testing.T) {
	for name, where := range map[string]struct{ read, write bool }{"reading": {true, false}, "writing": {false, true}} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			conn := &panicConn{Conn: ours}
			streams, handle := answered(t)
			c := Server(conn, Config{}, handle)
			p := newPeer(t, theirs, true)
			go p.read()
			_, _ = io.WriteString(theirs, Preface)
			_ = p.WriteSettings()
			_ = p.WriteSettingsAck()
			s := p.tunnel(1, streams)
			conn.panics(where.read, where.write)
			_ = p.WritePing(false, [8]byte{}) // which is read, and answered
			if _, err := s.Read(make([]byte, 1)); err == nil {
				t.Error("the stream goes on")
			}
			if err := c.Wait(); err == nil {
				t.Error("the connection has ended in order")
			}
			s.Close()
			if _, err := c.Open(t.Context(), nil, false); err == nil {
				t.Error("there are new streams")
			}
		})
	}
}

// A panic of the one that a stream's content is written to is the caller's. It leaves the
// connection usable.
func TestPanicOfAWriter(t *testing.T) {
	streams, handle := answered(t)
	_, p := against(t, Config{}, handle)
	s := p.tunnel(1, streams)
	if err := p.WriteData(1, false, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	var err error
	func() {
		defer panics.Into("a test", &err)
		_, err = s.WriteTo(writerFunc(func([]byte) (int, error) { panic("a bug") }))
	}()
	if !errors.Is(err, panics.Err) {
		t.Fatalf("error %v", err)
	}
	if err := p.WriteData(1, false, []byte("again")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if n, err := io.ReadFull(s, got); !strings.Contains("hello again", string(got[:n])) || err != nil {
		t.Errorf("read %q, %v", got[:n], err)
	}
	s.Close()
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
