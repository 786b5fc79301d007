//go:build unix

package realtest

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/tunnel/tunneltest"

	"golang.org/x/sys/unix"
)

// This file starts culvert dial, gives it standard input and output, and finds
// the processes that it is or leaves; and it has proxies of the tests' own for it.

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

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
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

// rawSocketPair is what ssh makes for its ProxyCommand; the runtime touches no
// flag of it, and no other program that is started inherits it.
func rawSocketPair(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	syscall.ForkLock.RLock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs = os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

// received takes what ssh waits for, one byte with a descriptor, and returns
// the socket.
func received(t *testing.T, from *os.File) net.Conn {
	t.Helper()
	b, oob := make([]byte, 2), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := unix.Recvmsg(int(from.Fd()), b, oob, unix.MSG_DONTWAIT)
	if n != 1 || err != nil {
		t.Fatalf("%d bytes came, %v; want 1", n, err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) != 1 {
		t.Fatalf("%d control messages, %v; want 1", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		t.Fatalf("%d descriptors, %v; want 1", len(fds), err)
	}
	file := os.NewFile(uintptr(fds[0]), "received")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// children are the command lines of a process's children.
func children(t *testing.T, pid int) (running []string) {
	t.Helper()
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if len(tasks) == 0 && runtime.GOOS == "linux" {
		t.Error("no process is to be seen")
	}
	for _, task := range tasks {
		pids, _ := os.ReadFile(task)
		for child := range strings.FieldsSeq(string(pids)) {
			words, _ := os.ReadFile("/proc/" + child + "/cmdline") // empty if it has ended
			if len(words) > 0 {
				running = append(running, string(words))
			}
		}
	}
	return running
}

// relaysTo are the processes that relay behind a socket and have proxy, which is
// this test's alone, among their arguments.
func relaysTo(t *testing.T, proxy string) (pids []string) {
	t.Helper()
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		environ, _ := os.ReadFile(file)
		arguments, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
		if bytes.Contains(environ, []byte("CULVERT_INTERNAL_RELAY=1")) && bytes.Contains(arguments, []byte(proxy)) {
			pids = append(pids, file)
		}
	}
	return pids
}

// dialsTo are the processes of culvert dial that go through a proxy; an ssh that
// has the same words in its ProxyCommand is none.
func dialsTo(t *testing.T, proxy string) (pids []string) {
	t.Helper()
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		text, _ := os.ReadFile(file)
		words := strings.Split(string(text), "\x00")
		if filepath.Base(words[0]) == "culvert" && slices.Contains(words, "dial") && strings.Contains(string(text), proxy) {
			pids = append(pids, filepath.Base(filepath.Dir(file)))
		}
	}
	return pids
}

// honest is the address of a proxy that opens every tunnel.
func honest(t *testing.T) string {
	t.Helper()
	return tunneltest.StartProxy(t, tunneltest.Honest()...).Addr()
}

// secureFront is a proxy that opens every tunnel, behind TLS as config has it.
func secureFront(t *testing.T, config *tls.Config) string {
	t.Helper()
	proxy := honest(t)
	return tunneltest.Start(t, func(conn net.Conn) {
		secured := tls.Server(conn, config)
		if secured.Handshake() != nil {
			return
		}
		next, err := net.Dial("tcp", proxy)
		if err != nil {
			return
		}
		defer next.Close()
		go func() {
			io.Copy(next, secured)
			tunneltest.CloseWrite(next)
		}()
		io.Copy(secured, next)
		secured.Close()
	}).Addr()
}

// silentProxy accepts and never says a word; came has a value for each who came.
func silentProxy(t *testing.T) (address string, came chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	came = make(chan struct{}, 8)
	var conns []net.Conn // held, so that no collection of garbage closes one
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns = append(conns, conn)
			came <- struct{}{}
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
		for _, conn := range conns {
			conn.Close()
		}
	})
	return l.Addr().String(), came
}
