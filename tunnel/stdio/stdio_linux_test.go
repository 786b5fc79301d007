package stdio

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/internal/clienttest"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"

	"golang.org/x/sys/unix"
)

// stdioStream is a kind of file that stdin or stdout may be. ours is for the relay,
// theirs is the other end, for the test. For a regular file both are the file.
type stdioStream struct {
	name    string
	open    func(t *testing.T) (ours, theirs *os.File)
	spliced bool // the relay splices to or from it
}

// opened returns a *os.File of a descriptor, made as os.Stdin is.
func opened(t *testing.T, fd int, name string) *os.File {
	f := os.NewFile(uintptr(fd), name)
	t.Cleanup(func() { f.Close() })
	return f
}

func stdioPipe(out bool, flags int) func(*testing.T) (ours, theirs *os.File) {
	return func(t *testing.T) (ours, theirs *os.File) {
		t.Helper()
		var fds [2]int
		if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|flags); err != nil {
			t.Fatal(err)
		}
		// The writing end is closed first, so that a read that still waits ends.
		r, w := opened(t, fds[0], "|0"), opened(t, fds[1], "|1")
		if out {
			return w, r
		}
		return r, w
	}
}

func stdioSocket(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return opened(t, fds[0], "ours"), opened(t, fds[1], "theirs")
}

func stdioFile(flags int) func(*testing.T) (ours, theirs *os.File) {
	return func(t *testing.T) (ours, theirs *os.File) {
		t.Helper()
		name := filepath.Join(t.TempDir(), "file")
		files := [2]*os.File{}
		for i, flags := range []int{os.O_RDWR | flags, os.O_RDWR} {
			f, err := os.OpenFile(name, os.O_CREATE|flags, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			files[i] = f
		}
		return files[0], files[1]
	}
}

var (
	stdioInputs = []stdioStream{
		{"pipe", stdioPipe(false, 0), false},
		{"nonblocking pipe", stdioPipe(false, unix.O_NONBLOCK), false},
		{"socket", stdioSocket, false},
		{"file", stdioFile(0), true},
	}
	stdioOutputs = []stdioStream{
		{"pipe", stdioPipe(true, 0), true},
		{"nonblocking pipe", stdioPipe(true, unix.O_NONBLOCK), true},
		{"socket", stdioSocket, true},
		{"file", stdioFile(0), true},
		{"appended file", stdioFile(os.O_APPEND), false},
		{"packets", stdioPipe(true, unix.O_DIRECT), true},
	}
)

// fill writes text to an input and closes it: a file at once, any other in the
// background.
func (k stdioStream) fill(t *testing.T, theirs *os.File, text []byte) {
	fed := make(chan struct{})
	feed := func() {
		defer close(fed)
		theirs.Write(text)
		theirs.Close()
	}
	if k.name == "file" {
		feed()
		return
	}
	go feed()
	t.Cleanup(func() { theirs.Close(); <-fed })
}

// drain returns a function that closes ours, as the end of a program does, and returns
// everything that was written to it.
func (k stdioStream) drain(ours, theirs *os.File) (all func() []byte) {
	var got []byte
	read := make(chan struct{})
	copied := func() {
		got, _ = io.ReadAll(theirs)
		close(read)
	}
	regular := k.name == "file" || k.name == "appended file"
	if !regular {
		go copied()
	}
	return func() []byte {
		ours.Close()
		if regular {
			copied()
		}
		<-read
		return got
	}
}

func statusFlags(t *testing.T, f *os.File) (flags int) {
	t.Helper()
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { flags, err = unix.FcntlInt(fd, unix.F_GETFL, 0) })
	if err != nil {
		t.Fatal(err)
	}
	return flags
}

// noise returns n pseudo-random bytes, which depend on the seed.
func noise(seed byte, n int) []byte {
	b := make([]byte, 0, n)
	for sum := sha256.Sum256([]byte{seed}); len(b) < n; sum = sha256.Sum256(sum[:]) {
		b = append(b, sum[:]...)
	}
	return b[:n]
}

// With every kind of file as stdin and as stdout, all bytes arrive, the counts are
// exact, no flag is changed, and bytes are spliced where that is of use.
func TestStdioOverEveryKindOfFile(t *testing.T) {
	for _, in := range stdioInputs {
		for _, out := range stdioOutputs {
			t.Run(in.name+" to "+out.name, func(t *testing.T) {
				text := noise(0, 3<<20)
				conn := tunnelTo(t, tunneltest.Echo)
				stdin, feeder := in.open(t)
				stdout, reader := out.open(t)
				in.fill(t, feeder, text)
				all := out.drain(stdout, reader)
				before := [2]int{statusFlags(t, stdin), statusFlags(t, stdout)}

				r := relaying{Tunnel: &Tunnel{Conn: conn, In: stdin, Out: stdout}}
				result, err := r.run()
				if after := [2]int{statusFlags(t, stdin), statusFlags(t, stdout)}; after != before {
					t.Errorf("flags are %#o, were %#o", after, before)
				}
				got := all()
				size := int64(len(text))
				if err != nil || !bytes.Equal(got, text) || result.Up != size || result.Down != size || !result.HalfClosed {
					t.Errorf("%d bytes out, the same: %t; %+v, %v", len(got), bytes.Equal(got, text), result, err)
				}
				wantSpliced(t, "up", r.spliced.up.Load(), in.spliced, size)
				wantSpliced(t, "down", r.spliced.down, out.spliced, size)
			})
		}
	}
}

// wantSpliced checks that bytes were spliced or not. The last bytes before end of file
// may be copied in any case.
func wantSpliced(t *testing.T, way string, got int64, spliced bool, size int64) {
	t.Helper()
	if got > 0 != spliced || got > size {
		t.Errorf("%d bytes of %d were spliced %s, want some: %t", got, size, way, spliced)
	}
}

// Both ways at once carry more than all buffers on the way hold.
func TestStdioOverFilesMuchBothWays(t *testing.T) {
	const size = 32 << 20
	up, down := noise(1, size), noise(2, size)
	for _, tt := range []struct{ in, out stdioStream }{
		{stdioInputs[0], stdioOutputs[0]},
		{stdioInputs[3], stdioOutputs[2]},
	} {
		t.Run(tt.in.name+" to "+tt.out.name, func(t *testing.T) {
			arrived := make(chan [32]byte, 1)
			conn := tunnelTo(t, func(conn net.Conn) {
				var sending sync.WaitGroup
				sending.Go(func() { conn.Write(down) })
				sum := sha256.New()
				io.Copy(sum, conn)
				sending.Wait()
				arrived <- [32]byte(sum.Sum(nil))
			})
			// A small send queue keeps a splice from emptying a pipe.
			raw, err := conn.NetConn().(sock.TCP).SyscallConn()
			if err == nil {
				raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 64<<10) })
			}
			if err != nil {
				t.Fatal(err)
			}
			stdin, feeder := tt.in.open(t)
			stdout, reader := tt.out.open(t)
			tt.in.fill(t, feeder, up)
			all := tt.out.drain(stdout, reader)
			result, err := relayed(t, Tunnel{Conn: conn, In: stdin, Out: stdout})
			if err != nil || result.Up != size || result.Down != size {
				t.Errorf("%+v, %v", result, err)
			}
			if !bytes.Equal(all(), down) {
				t.Error("other bytes came down")
			}
			if <-arrived != sha256.Sum256(up) {
				t.Error("other bytes went up")
			}
		})
	}
}

// The end of a tunnel is reported over files as over any other stream.
func TestStdioOverFilesEnds(t *testing.T) {
	for _, out := range stdioOutputs[:5] {
		for _, tt := range []struct {
			name   string
			target tunneltest.Handler
			want   string
			broken bool
		}{
			{"target ends", tunneltest.Say("bye"), "bye", false},
			{"target resets", tunneltest.ResetAfter("", 5), "", true},
			{"target resets after its last words", tunneltest.ResetAfter("words", 5), "words", true},
			{"early bytes", tunneltest.Say("late"), "early late", false},
		} {
			t.Run(out.name+", "+tt.name, func(t *testing.T) {
				conn := tunnelTo(t, tt.target)
				if tt.name == "early bytes" {
					conn = behindEarly(t, "early ", "late")
				}
				stdout, reader := out.open(t)
				all := out.drain(stdout, reader)
				stdin, feeder := stdioInputs[0].open(t) // stays open
				if _, err := feeder.WriteString("hello"); err != nil {
					t.Fatal(err)
				}
				result, err := relayed(t, Tunnel{Conn: conn, In: stdin, Out: stdout})
				var e *tunnel.Error
				if broken := errors.As(err, &e) && e.Phase == tunnel.PhaseRelay && e.Hop != "" && e.Target.String() == "example.com:22"; broken != tt.broken || !broken && err != nil {
					t.Errorf("got %v", err)
				}
				if got := all(); string(got) != tt.want || result.Down != int64(len(tt.want)) || result.HalfClosed {
					t.Errorf("out %q, %+v", got, result)
				}
			})
		}
	}
}

// The end of stdin ends the tunnel although the target goes on writing.
func TestStdioOverFilesEOFCloseEndsTunnel(t *testing.T) {
	for _, out := range stdioOutputs[:4] {
		t.Run(out.name, func(t *testing.T) {
			conn := tunnelTo(t, func(conn net.Conn) { io.Copy(conn, testkit.Endless{}) })
			stdout, reader := out.open(t)
			all := out.drain(stdout, reader)
			stdin, feeder := stdioInputs[3].open(t)
			stdioInputs[3].fill(t, feeder, []byte("all of it"))
			result, err := relayed(t, Tunnel{Conn: conn, In: stdin, Out: stdout, OnEOF: EOFClose})
			if n := len(all()); err != nil || result.Up != 9 || result.HalfClosed || result.Down != int64(n) {
				t.Errorf("%+v, %v; %d bytes out", result, err, n)
			}
		})
	}
}

// behindEarly opens a tunnel whose target sends bytes right after the reply of the proxy,
// then more, and ends.
func behindEarly(t *testing.T, early, late string) *client.Conn {
	t.Helper()
	proxy := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Send("HTTP/1.1 200 OK\r\n\r\n"+early), tunneltest.Send(late), tunneltest.Finish)
	conn, e := clienttest.TryOpen(t, clienttest.Proxied(t, "http://"+proxy.Addr()))
	if e != nil {
		t.Fatal(e)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}
