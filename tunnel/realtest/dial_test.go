//go:build unix

package realtest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/tunnel/tunneltest"

	"golang.org/x/sys/unix"
)

// dialed is a running culvert dial.
type dialed struct {
	*exec.Cmd
	stderr bytes.Buffer
}

// startDial starts culvert dial; its stdin and stdout may be nil. It is killed
// if it does not end in time.
func startDial(t *testing.T, stdin, stdout *os.File, words ...string) *dialed {
	t.Helper()
	d := &dialed{Cmd: exec.CommandContext(t.Context(), culvert(t), append([]string{"dial"}, words...)...)}
	d.Stderr = &d.stderr
	if stdin != nil {
		d.Stdin = stdin
	}
	if stdout != nil {
		d.Stdout = stdout
	}
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(bound, func() { d.Process.Kill() })
	t.Cleanup(func() { timer.Stop() })
	return d
}

// wantExit waits for the end; the code is a shell's, 128+n for signal n.
func (d *dialed) wantExit(t *testing.T, want int) {
	t.Helper()
	var exit *exec.ExitError
	if err := d.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	status := d.ProcessState.Sys().(syscall.WaitStatus)
	got := status.ExitStatus()
	if status.Signaled() {
		got = 128 + int(status.Signal())
	}
	if got != want {
		t.Errorf("exit code %d, want %d; stderr %q", got, want, d.stderr.String())
	}
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// honest is the address of a proxy that opens every tunnel.
func honest(t *testing.T) string {
	t.Helper()
	return tunneltest.StartProxy(t, tunneltest.Honest()...).Addr()
}

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

// startDialTrapped is startDial from a shell that ignores SIGPIPE, or does not.
func startDialTrapped(t *testing.T, ignored bool, stdin, stdout *os.File, words ...string) *dialed {
	t.Helper()
	if !ignored {
		return startDial(t, stdin, stdout, words...)
	}
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("needs sh")
	}
	d := &dialed{Cmd: exec.CommandContext(t.Context(), sh, append([]string{"-c", `trap "" PIPE; exec "$0" dial "$@"`, culvert(t)}, words...)...)}
	d.Stdin, d.Stdout, d.Stderr = stdin, stdout, &d.stderr
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(bound, func() { d.Process.Kill() })
	t.Cleanup(func() { timer.Stop() })
	return d
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

func (d *dialed) signalled(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := d.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	d.wantExit(t, 128+int(s))
	if d.stderr.Len() > 0 {
		t.Errorf("stderr %q", d.stderr.String())
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

// rawPipe is a pipe whose flags this program's runtime does not touch either.
func rawPipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	fds := make([]int, 2)
	syscall.ForkLock.RLock()
	err := unix.Pipe(fds)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	r, w = os.NewFile(uintptr(fds[0]), "r"), os.NewFile(uintptr(fds[1]), "w")
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
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
