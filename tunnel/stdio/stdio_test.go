package stdio

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/internal/clienttest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"
)

// tunnelTo opens a tunnel through a scripted proxy, which then acts as the target.
func tunnelTo(t *testing.T, target tunneltest.Handler) *client.Conn {
	t.Helper()
	p := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Send("HTTP/1.1 200 OK\r\n\r\n"), tunneltest.Serve(target))
	conn, e := clienttest.TryOpen(t, clienttest.Proxied(t, p.Addr()))
	if e != nil {
		t.Fatal(e)
	}
	return conn
}

// relayed runs Relay, which must end.
func relayed(t *testing.T, s Tunnel) (Result, error) {
	t.Helper()
	type outcome struct {
		Result
		error
	}
	done := make(chan outcome, 1)
	go func() {
		r, err := s.Relay()
		done <- outcome{r, err}
	}()
	select {
	case o := <-done:
		return o.Result, o.error
	case <-time.After(testkit.Patience):
		t.Fatal("the relay did not end")
	}
	return Result{}, nil
}

// openInput is an input that never ends: a read after the text blocks.
func openInput(t *testing.T, text string) io.Reader {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close(); r.Close() })
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestStdioCopiesBothWays(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	for _, tt := range []struct {
		name   string
		target tunneltest.Handler
		onEOF  OnEOF
		in     string
		out    string
		want   Result
	}{
		{"half-close is the default, and the answer comes", tunneltest.Count, "", "four", "4 bytes\n", Result{Up: 4, Down: 8, HalfClosed: true, After: 8}},
		{"half-close", tunneltest.Count, EOFHalfClose, big, "1048576 bytes\n", Result{Up: 1 << 20, Down: 14, HalfClosed: true, After: 14}},
		{"empty input", tunneltest.Count, EOFHalfClose, "", "0 bytes\n", Result{Down: 8, HalfClosed: true, After: 8}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			got, err := relayed(t, Tunnel{Conn: tunnelTo(t, tt.target), In: strings.NewReader(tt.in), Out: &out, OnEOF: tt.onEOF})
			if err != nil || out.String() != tt.out || got != tt.want {
				t.Errorf("out %q, %+v, %v\nwant %q, %+v", out.String(), got, err, tt.out, tt.want)
			}
		})
	}
}

// halfPipe is one end of a net.Pipe that records half-closes.
type halfPipe struct {
	net.Conn
	ended atomic.Bool
}

func (p *halfPipe) CloseWrite() error {
	p.ended.Store(true)
	return nil
}

// With EOFWait, end of file is not passed on to the target, which continues.
func TestStdioPassesEOFOnOrWaits(t *testing.T) {
	for onEOF, passed := range map[OnEOF]bool{"": true, EOFHalfClose: true, EOFWait: false} {
		t.Run(string(onEOF), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				half := &halfPipe{Conn: ours}
				var out bytes.Buffer
				s := Tunnel{Conn: &client.Conn{Conn: half}, In: strings.NewReader("four"), Out: &out, OnEOF: onEOF}
				done := make(chan error, 1)
				go func() {
					_, err := s.Relay()
					done <- err
				}()
				testkit.Expect(t, theirs, "four")
				synctest.Wait() // until the relay waits for the target
				if got := half.ended.Load(); got != passed {
					t.Errorf("half-closed: %t, want %t", got, passed)
				}
				io.WriteString(theirs, "done")
				theirs.Close()
				if err := <-done; err != nil || out.String() != "done" {
					t.Errorf("out %q, %v", out.String(), err)
				}
			})
		})
	}
}

func TestStdioEchoesMuch(t *testing.T) {
	in := strings.Repeat("0123456789abcdef", 1<<18) // 4 MiB, more than all buffers on the way hold
	var out bytes.Buffer
	got, err := relayed(t, Tunnel{Conn: tunnelTo(t, tunneltest.Echo), In: strings.NewReader(in), Out: &out})
	if err != nil || out.String() != in || got.Up != 4<<20 || got.Down != 4<<20 {
		t.Errorf("%d bytes out, %+v, %v", out.Len(), got, err)
	}
}

// Bytes that came with the reply of the proxy go first, and are counted.
func TestStdioEarlyBytesGoFirst(t *testing.T) {
	p := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Send("HTTP/1.1 200 OK\r\n\r\nearly "), tunneltest.Serve(tunneltest.Say("late")))
	conn, e := clienttest.TryOpen(t, clienttest.Proxied(t, p.Addr()))
	if e != nil {
		t.Fatal(e)
	}
	var out bytes.Buffer
	got, err := relayed(t, Tunnel{Conn: conn, In: strings.NewReader(""), Out: &out})
	if err != nil || out.String() != "early late" || got.Down != 10 {
		t.Errorf("out %q, %+v, %v", out.String(), got, err)
	}
}

// The target's end of file ends the relay although the input is still open.
func TestStdioTargetEndsWithInputOpen(t *testing.T) {
	var out bytes.Buffer
	got, err := relayed(t, Tunnel{Conn: tunnelTo(t, tunneltest.Say("bye")), In: openInput(t, "hello"), Out: &out})
	if err != nil || out.String() != "bye" || got.HalfClosed {
		t.Errorf("out %q, %+v, %v", out.String(), got, err)
	}
}

// A target that has ended and does not read does not keep the relay from ending, nor
// does the input that waits for it.
func TestStdioTargetEndsWithoutReading(t *testing.T) {
	for range 3 {
		release := make(chan struct{})
		conn := tunnelTo(t, func(conn net.Conn) {
			io.WriteString(conn, "bye")
			tunneltest.CloseWrite(conn)
			<-release
		})
		var out bytes.Buffer
		_, err := relayed(t, Tunnel{Conn: conn, In: endlessInput{}, Out: &out})
		close(release)
		if err != nil || out.String() != "bye" {
			t.Errorf("out %q, %v", out.String(), err)
		}
	}
}

type endlessInput struct{}

func (endlessInput) Read(b []byte) (int, error) { return len(b), nil }

func TestStdioEOFCloseEndsTunnel(t *testing.T) {
	sent := make(chan string, 1)
	conn := tunnelTo(t, func(conn net.Conn) {
		all, _ := io.ReadAll(conn)
		sent <- string(all)
		tunneltest.Silent(conn)
	})
	got, err := relayed(t, Tunnel{Conn: conn, In: strings.NewReader("all of it"), Out: io.Discard, OnEOF: EOFClose})
	if err != nil || got.Up != 9 || got.HalfClosed {
		t.Errorf("%+v, %v", got, err)
	}
	select {
	case all := <-sent:
		if all != "all of it" {
			t.Errorf("the target got %q", all)
		}
	case <-time.After(testkit.Patience):
		t.Error("the target saw no end of file")
	}
}

func TestStdioReset(t *testing.T) {
	for _, tt := range []struct {
		name   string
		target tunneltest.Handler
		in     func(*testing.T) io.Reader
		out    string
	}{
		{"while reading", tunneltest.ResetAfter("", 5), func(t *testing.T) io.Reader { return openInput(t, "hello") }, ""},
		{"after its last words", tunneltest.ResetAfter("words", 5), func(t *testing.T) io.Reader { return openInput(t, "hello") }, "words"},
		{"while writing", tunneltest.ResetAfter("", 1<<20), func(*testing.T) io.Reader { return endlessInput{} }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn := tunnelTo(t, tt.target)
			var out bytes.Buffer
			_, err := relayed(t, Tunnel{Conn: conn, In: tt.in(t), Out: &out})
			var e *tunnel.Error
			if !errors.As(err, &e) || e.Phase != tunnel.PhaseRelay || e.ExitCode() != tunnel.ExitBroken {
				t.Fatalf("got %v, want a broken tunnel", err)
			}
			if e.Target.String() != "example.com:22" || e.Hop == "" || out.String() != tt.out {
				t.Errorf("target %v, hop %q, out %q", e.Target, e.Hop, out.String())
			}
		})
	}
}

type failingFile struct{ error }

func (f failingFile) Read([]byte) (int, error)  { return 0, f.error }
func (f failingFile) Write([]byte) (int, error) { return 0, f.error }

func TestStdioOutputFails(t *testing.T) {
	for _, tt := range []struct {
		name      string
		err, want error
	}{
		{"closed", &os.PathError{Op: "write", Path: "|1", Err: syscall.EPIPE}, ErrOutputClosed},
		{"socket reset", syscall.ECONNRESET, ErrOutputClosed},
		{"disk full", syscall.ENOSPC, syscall.ENOSPC},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := relayed(t, Tunnel{Conn: tunnelTo(t, tunneltest.Greet("hello")), In: openInput(t, ""), Out: failingFile{tt.err}})
			if !errors.Is(err, tt.want) || got.Down != 0 {
				t.Errorf("%+v, %v; want %v", got, err, tt.want)
			}
		})
	}
}

func TestStdioInputFails(t *testing.T) {
	_, err := relayed(t, Tunnel{Conn: tunnelTo(t, tunneltest.Silent), In: failingFile{syscall.EIO}, Out: io.Discard})
	if !errors.Is(err, syscall.EIO) || tunnel.ExitCode(err) != tunnel.ExitUnexpected {
		t.Errorf("got %v", err)
	}
}

// Memory is bounded when the output is not read: the target has to wait.
func TestStdioHoldsTargetBack(t *testing.T) {
	var wrote int
	stuck := make(chan struct{})
	conn := tunnelTo(t, func(conn net.Conn) {
		defer close(stuck)
		block := make([]byte, 64<<10)
		for {
			conn.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
			n, err := conn.Write(block)
			wrote += n
			if err != nil {
				return
			}
		}
	})
	r, w := io.Pipe() // an output that accepts nothing
	done := make(chan struct{})
	go func() {
		defer close(done)
		s := Tunnel{Conn: conn, In: strings.NewReader(""), Out: w}
		s.Relay()
	}()
	<-stuck
	if wrote > 64<<20 {
		t.Errorf("%d bytes were taken from the target and not read", wrote)
	}
	r.CloseWithError(syscall.EPIPE)
	<-done
}
