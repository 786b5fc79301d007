//go:build unix

package realtest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// This file finds, starts, awaits and ends programs: on loopback, with throw-away
// configurations and keys, ended by pid.

// needs finds programs, or skips the test with its reason; under CULVERT_REAL=1
// a missing one is a failure, so that CI cannot skip by accident.
func needs(t testing.TB, names ...string) []string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the real parts are started as on Linux")
	}
	paths := make([]string, len(names))
	for i, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			path, err = exec.LookPath("/usr/sbin/" + name)
		}
		if err != nil {
			if os.Getenv("CULVERT_REAL") == "1" {
				t.Fatalf("%s is not installed, and CULVERT_REAL=1", name)
			}
			t.Skipf("%s is not installed", name)
		}
		paths[i] = path
	}
	return paths
}

// background starts a program and ends it with the test. What it printed is
// shown if the test failed.
func background(t testing.TB, name string, arg ...string) *lockedBuffer {
	t.Helper()
	cmd := exec.Command(name, arg...)
	out := &lockedBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // helpers of its own end with it
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		timer := time.AfterFunc(bound, func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		cmd.Wait()
		timer.Stop()
		if t.Failed() {
			t.Logf("%s printed:\n%s", filepath.Base(name), out)
		}
	})
	return out
}

// nameless is background for a program that is to know no name at all: in a
// mount namespace of its own it does not ask DNS. Where there can be none, the
// machine's own resolver has to know that there is no nowhere.invalid.
func nameless(t testing.TB, name string, arg ...string) *lockedBuffer {
	t.Helper()
	if exec.Command("unshare", "-m", "true").Run() == nil {
		nsswitch := write(t, filepath.Join(t.TempDir(), "nsswitch.conf"), "passwd: files\ngroup: files\nhosts: files\n")
		readable(nsswitch)
		os.Chmod(nsswitch, 0o644)
		arg = append([]string{"-m", "sh", "-c", `mount --bind "$0" /etc/nsswitch.conf && exec "$@"`, nsswitch, name}, arg...)
		name = "unshare"
	}
	return background(t, name, arg...)
}

// shared starts something for all tests, with the first that wants it: a server
// that takes its time to start, or to end, and whose clients are nothing to each
// other. It ends when all tests have. It needs programs.
func shared[T any](start func(testing.TB) T, programs ...string) func(testing.TB) T {
	var once sync.Once
	var it T
	var started bool
	return func(t testing.TB) T {
		t.Helper()
		needs(t, programs...)
		once.Do(func() {
			it = start(lasting{t})
			started = true
		})
		if !started {
			t.Fatal("what this test shares with others did not start")
		}
		return it
	}
}

// lasting is a test whose cleanups wait for the end of all tests.
type lasting struct{ testing.TB }

func (lasting) Cleanup(f func()) { atTheEnd(f) }

func (lasting) Context() context.Context { return context.Background() }

func (l lasting) TempDir() string {
	dir, err := os.MkdirTemp(tempDir, "shared")
	if err != nil {
		l.Fatal(err)
	}
	return dir
}

// Failed and Logf are for cleanups, when the test itself is long over.
func (lasting) Failed() bool { return exitCode.Load() != 0 }

func (lasting) Logf(format string, arg ...any) { fmt.Fprintf(os.Stderr, format+"\n", arg...) }

// lockedBuffer takes a program's output while a test reads it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// freePorts are below those that connections get by themselves: what tests that
// run beside dial out from, or listen on, takes none away.
var freePorts atomic.Int32

// freePort is a port that was free a moment ago, for programs that cannot take
// one themselves. No other test of this process is given it.
func freePort(t testing.TB) string {
	t.Helper()
	for range 1000 {
		port := strconv.Itoa(20000 + (os.Getpid()*100+int(freePorts.Add(1)))%10000)
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}

// eventually waits until ok says yes, at most three times bound: machines that
// test may be slow, and have much to do at once.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for until := time.Now().Add(3 * bound); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("timed out waiting: %s", what)
		}
	}
}

// accepts waits until something listens on the address.
func accepts(t testing.TB, address string) {
	t.Helper()
	eventually(t, address+" accepts", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// announced waits until a program has said words, and returns what stands behind
// them on the line, up to a space or the end of a text in JSON.
func announced(t testing.TB, out *lockedBuffer, words string) string {
	t.Helper()
	var rest string
	eventually(t, "the program says "+words, func() bool {
		_, after, _ := strings.Cut(out.String(), words)
		line, _, whole := strings.Cut(after, "\n")
		if rest = line; strings.ContainsAny(line, ` "`) {
			rest = line[:strings.IndexAny(line, ` "`)]
		}
		return whole
	})
	return rest
}

// deaf is an address that takes no connection, and refuses none until undo: its
// queue of those that wait to be accepted is full.
func deaf(t testing.TB) (address string, undo func()) {
	t.Helper()
	syscall.ForkLock.RLock()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	undo = sync.OnceFunc(func() { syscall.Close(fd) })
	t.Cleanup(undo)
	port, _ := strconv.Atoi(freePort(t)) // which nobody takes after undo either
	if err := cmp.Or(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: port}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	address = fmt.Sprintf("127.0.0.1:%d", port)
	for range 8 {
		conn, err := net.DialTimeout("tcp", address, 200*time.Millisecond)
		if err != nil {
			return address, undo
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Fatal("the queue does not fill")
	return "", nil
}

func write(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func contents(path string) string {
	text, _ := os.ReadFile(path)
	return string(text)
}

// readable lets a server that gave up root read a file of the test's.
func readable(path string) {
	for d := path; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
}

// runProgram runs a program to its end with a bound, and returns what it printed.
func runProgram(t testing.TB, stdin io.Reader, name string, arg ...string) (stdout, stderr string, code int) {
	t.Helper()
	return runProgramWith(t, cleanEnviron(), stdin, name, arg...)
}

func runProgramWith(t testing.TB, environ []string, stdin io.Reader, name string, arg ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*bound)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, arg...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &errs
	cmd.Env = environ
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// cleanEnviron is the environment without what would choose a proxy.
func cleanEnviron() []string {
	var env []string
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if !strings.HasSuffix(strings.ToLower(name), "_proxy") && !strings.HasPrefix(name, "CULVERT_") {
			env = append(env, e)
		}
	}
	return env
}
