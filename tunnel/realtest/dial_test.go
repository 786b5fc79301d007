//go:build unix

package realtest

import (
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/tunnel/tunneltest"

	"golang.org/x/sys/unix"
)

// wantText reads exactly want from what the program writes. That the program
// is killed in time bounds it.
func wantText(t *testing.T, r *os.File, want string) {
	t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(r, got)
	if string(got[:n]) != want || err != nil {
		t.Fatalf("read %q, %v; want %q", got[:n], err, want)
	}
}

// The target's end of file ends dial, stdin open or not.
func TestDialEndsWithTarget(t *testing.T) {
	t.Parallel()
	target := tunneltest.Start(t, tunneltest.Say("bye\n"))
	stdin, _ := pipe(t)
	out, stdout := pipe(t)
	d := startDial(t, stdin, stdout, "-x", honest(t), target.Addr())
	wantText(t, out, "bye\n")
	d.wantExit(t, 0)
	if d.stderr.Len() > 0 {
		t.Errorf("stderr %q", d.stderr.String())
	}
}

func TestDialResetIsExit10(t *testing.T) {
	t.Parallel()
	target := tunneltest.Start(t, tunneltest.ResetAfter("words", 1))
	stdin, in := pipe(t)
	out, stdout := pipe(t)
	d := startDial(t, stdin, stdout, "-x", "direct", target.Addr())
	wantText(t, out, "words")
	in.WriteString("x")
	d.wantExit(t, 10)
	want := "culvert dial: the tunnel to " + target.Addr() + " broke: connection reset by peer\nhint: "
	if got := d.stderr.String(); !strings.HasPrefix(got, want) || strings.Count(got, "\n") != 2 {
		t.Errorf("stderr %q, want %q…", got, want)
	}
}

func TestDialSilentProxyIsExit9(t *testing.T) {
	t.Parallel()
	proxy := tunneltest.Start(t, tunneltest.Silent)
	d := startDial(t, nil, nil, "-x", proxy.Addr(), "--timeout", "1s", "example.com:22")
	d.wantExit(t, 9)
	want := "culvert dial: proxy " + proxy.Addr() + " did not answer in time\nhint: "
	if got := d.stderr.String(); !strings.HasPrefix(got, want) {
		t.Errorf("stderr %q, want %q…", got, want)
	}
}

// Where the answer may have been lost to the half-close, -v says what to try.
func TestDialHintsAtWait(t *testing.T) {
	t.Parallel()
	const hint = "if an answer is missing, try --on-eof wait\n"
	for _, tt := range []struct {
		name   string
		target tunneltest.Handler
		want   bool
	}{
		{"no answer", tunneltest.Silent, true},
		{"an answer", tunneltest.Count, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			target := tunneltest.Start(t, tt.target)
			d := startDial(t, nil, nil, "-v", "-x", honest(t), target.Addr())
			d.wantExit(t, 0)
			if got := strings.HasSuffix(d.stderr.String(), hint); got != tt.want {
				t.Errorf("hint %t, want %t; stderr %q", got, tt.want, d.stderr.String())
			}
		})
	}
}

// A reader of stdout that went away ends dial as SIGPIPE would, silently; where
// SIGPIPE is ignored too.
func TestDialClosedStdout(t *testing.T) {
	t.Parallel()
	for _, ignored := range []bool{false, true} {
		t.Run(map[bool]string{false: "default", true: "SIGPIPE ignored"}[ignored], func(t *testing.T) {
			target := tunneltest.Start(t, tunneltest.Greet("hello"))
			stdin, _ := pipe(t)
			r, stdout := pipe(t)
			r.Close()
			d := startDialTrapped(t, ignored, stdin, stdout, "-x", honest(t), target.Addr())
			d.wantExit(t, 128+int(syscall.SIGPIPE))
			if d.stderr.Len() > 0 {
				t.Errorf("stderr %q", d.stderr.String())
			}
		})
	}
}

// A signal ends dial silently, whether it waits for a proxy or relays.
func TestDialSignal(t *testing.T) {
	t.Parallel()
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM} {
		t.Run(s.String()+" while it relays", func(t *testing.T) {
			target := tunneltest.Start(t, tunneltest.Greet("hello"))
			stdin, _ := pipe(t)
			out, stdout := pipe(t)
			d := startDial(t, stdin, stdout, "-x", honest(t), target.Addr())
			wantText(t, out, "hello")
			d.signalled(t, s)
		})
		t.Run(s.String()+" while it waits for the proxy", func(t *testing.T) {
			asked := make(chan struct{})
			proxy := tunneltest.StartProxy(t, tunneltest.ReadHead, func(*tunneltest.Turn) bool {
				close(asked)
				return true
			}, tunneltest.Hold)
			d := startDial(t, nil, nil, "-x", proxy.Addr(), "example.com:22")
			select {
			case <-asked:
				d.signalled(t, s)
			case <-time.After(bound):
				t.Fatal("the proxy was not asked")
			}
		})
	}
}

// Flags of a descriptor are shared with whoever else has it, the terminal's
// other programs for one: dial leaves them as they are.
func TestDialKeepsDescriptorFlags(t *testing.T) {
	t.Parallel()
	for _, nonblocking := range []bool{false, true} {
		t.Run(map[bool]string{false: "blocking", true: "non-blocking"}[nonblocking], func(t *testing.T) {
			target := tunneltest.Start(t, tunneltest.Echo)
			stdin, in := rawPipe(t)
			out, stdout := rawPipe(t)
			for _, f := range []*os.File{stdin, stdout} {
				if err := unix.SetNonblock(int(f.Fd()), nonblocking); err != nil {
					t.Fatal(err)
				}
			}
			before := [...]int{statusFlags(t, stdin), statusFlags(t, stdout)}
			if got := before[0]&unix.O_NONBLOCK != 0; got != nonblocking {
				t.Fatalf("the test's own pipe: non-blocking %t", got)
			}
			d := startDial(t, stdin, stdout, "-v", "-x", honest(t), target.Addr())
			in.WriteString("ping")
			wantText(t, out, "ping")
			if during := [...]int{statusFlags(t, stdin), statusFlags(t, stdout)}; during != before {
				t.Errorf("flags while it runs %x, before %x", during, before)
			}
			in.Close()
			d.wantExit(t, 0)
			if after := [...]int{statusFlags(t, stdin), statusFlags(t, stdout)}; after != before {
				t.Errorf("flags after %x, before %x", after, before)
			}
		})
	}
}

func statusFlags(t *testing.T, f *os.File) int {
	t.Helper()
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err != nil {
		t.Fatal(err)
	}
	return flags
}

// ssh with ProxyUseFdpass, and socat, give one socket for both.
func TestDialOverSocket(t *testing.T) {
	t.Parallel()
	file, theirs := rawSocketPair(t)
	ours, err := net.FileConn(file)
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	file.Close() // the socket is ours's now
	target := tunneltest.Start(t, tunneltest.Count)
	d := startDial(t, theirs, theirs, "-x", honest(t), target.Addr())
	theirs.Close()
	ours.SetDeadline(time.Now().Add(bound))
	io.WriteString(ours, "four")
	tunneltest.CloseWrite(ours)
	if got, err := io.ReadAll(ours); string(got) != "4 bytes\n" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	d.wantExit(t, 0)
}
