package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"

	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// A sandbox cannot be left, so each test runs in a process of its own: this program,
// started again with this variable set to the name of what it is to do.
const actVariable = "CULVERT_TEST_SANDBOX"

// acts are what such a process does, in a folder of its own. What it returns is an error
// of the test.
var acts = map[string]func(dir string) error{
	"files": actFiles, "exec": actExec, "threads": actThreads, "replaced": actReplaced, "names": actNames, "socket": actSocket,
}

func TestMain(m *testing.M) {
	act := acts[os.Getenv(actVariable)]
	if act == nil {
		os.Exit(m.Run())
	}
	if err := act(os.Args[len(os.Args)-1]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// inSandbox runs an act in a process of its own.
func inSandbox(t *testing.T, act string) {
	t.Helper()
	if version, err := ll.LandlockGetABIVersion(); err != nil || version < 1 {
		t.Skipf("this kernel, or the container, has no Landlock: %v", err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^$", t.TempDir())
	cmd.Env = append(os.Environ(), actVariable+"="+act)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// denied reports an error that is not EACCES.
func denied(what string, err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%s: %v, want it denied", what, err)
	}
	return nil
}

// prepare makes the folders dir/log, where the process may write, and dir/other, and puts
// the sandbox on.
func prepare(dir string) (log, other string, err error) {
	log, other = filepath.Join(dir, "log"), filepath.Join(dir, "other")
	err = errors.Join(os.Mkdir(log, 0o700), os.Mkdir(other, 0o700), os.WriteFile(filepath.Join(other, "file"), []byte("other"), 0o600))
	if err != nil {
		return log, other, err
	}
	s, err := Apply([]string{filepath.Join(log, "access.log")}, nil)
	if err == nil && (!s.Hardened || s.Landlock < 1 || !reflect.DeepEqual(s.Folders, []string{log}) || s.Files != nil) {
		err = fmt.Errorf("status %+v", s)
	}
	return log, other, err
}

// Files are written and removed in the named folder and nowhere else, and read anywhere.
func TestFilesAreWrittenWhereNamed(t *testing.T) {
	t.Parallel()
	inSandbox(t, "files")
}

func actFiles(dir string) error {
	log, other, err := prepare(dir)
	if err != nil {
		return err
	}
	in := func(name string) string { return filepath.Join(log, name) }
	out := func(name string) string { return filepath.Join(other, name) }
	_, readErr := os.ReadFile(out("file"))
	_, listErr := os.ReadDir("/etc")
	return errors.Join(readErr, listErr,
		os.WriteFile(in("a"), []byte("x"), 0o600), os.WriteFile(in("a"), []byte("y"), 0o600),
		os.Truncate(in("a"), 0), os.Rename(in("a"), in("b")), os.Remove(in("b")),
		denied("creating a file elsewhere", os.WriteFile(out("new"), nil, 0o600)),
		denied("writing a file elsewhere", os.WriteFile(out("file"), nil, 0o600)),
		denied("removing a file elsewhere", os.Remove(out("file"))),
		denied("renaming a file elsewhere", os.Rename(out("file"), out("moved"))),
		denied("making a folder elsewhere", os.Mkdir(out("folder"), 0o700)),
		denied("making a symbolic link", os.Symlink("x", in("link"))),
		denied("making a folder", os.Mkdir(in("folder"), 0o700)),
		denied("writing in the folder above", os.WriteFile(filepath.Join(dir, "x"), nil, 0o600)),
		denied("writing to a device", os.WriteFile("/dev/null", []byte("x"), 0)),
	)
}

// Nothing is executed, not even what can be read or was written.
func TestNothingIsExecuted(t *testing.T) {
	t.Parallel()
	inSandbox(t, "exec")
}

func actExec(dir string) error {
	log, _, err := prepare(dir)
	if err != nil {
		return err
	}
	script := filepath.Join(log, "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o700); err != nil {
		return err
	}
	self, err := os.Executable()
	return errors.Join(err,
		denied("a program", exec.Command("/bin/sh", "-c", "exit 0").Run()),
		denied("itself", exec.Command(self, "-test.run=^$").Run()),
		denied("a script that was written", exec.Command(script).Run()))
}

// Every thread is restricted, those that were there and those that come.
func TestEveryThreadIsRestricted(t *testing.T) {
	t.Parallel()
	inSandbox(t, "threads")
}

func actThreads(dir string) error {
	const count = 8
	var ready, over sync.WaitGroup
	begin := make(chan struct{})
	results := make([]error, 2*count)
	try := func(i int) error {
		return denied(fmt.Sprintf("thread %d", i), os.WriteFile(filepath.Join(dir, "other", "new"), nil, 0o600))
	}
	for i := range count {
		ready.Add(1)
		over.Go(func() {
			runtime.LockOSThread() // one that was there before
			ready.Done()
			<-begin
			results[i] = try(i)
		})
	}
	ready.Wait()
	if _, _, err := prepare(dir); err != nil {
		return err
	}
	close(begin)
	for i := count; i < 2*count; i++ {
		over.Go(func() {
			runtime.LockOSThread()
			results[i] = try(i)
		})
	}
	over.Wait()
	tasks, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(tasks) < 2 {
		return fmt.Errorf("%d threads, %v", len(tasks), err)
	}
	for _, task := range tasks {
		status, err := os.ReadFile(task)
		if err == nil && !strings.Contains(string(status), "NoNewPrivs:\t1") {
			return fmt.Errorf("%s lacks no_new_privs", task)
		}
	}
	if on, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); on != 0 || err != nil {
		return fmt.Errorf("dumpable: %d, %v", on, err)
	}
	return errors.Join(results...)
}

// What administrators replace is found in its new form: a log that was moved, a
// certificate behind a symbolic link that was switched, files that came by rename.
func TestReplacedFilesAreRead(t *testing.T) {
	t.Parallel()
	inSandbox(t, "replaced")
}

// actReplaced has another process replace the files, which has to be started before.
func actReplaced(dir string) error {
	script := `cd "$1" && mkdir archive && echo one >archive/cert1 && echo two >archive/cert2 && ln -s archive/cert1 cert && echo old >users && echo old >resolv.conf
echo ready; read go
ln -s archive/cert2 cert.new && mv -T cert.new cert && echo new >users.new && mv users.new users && rm resolv.conf && echo new >resolv.conf && mv log/access.log log/access.log.1
echo done`
	other := exec.Command("/bin/sh", "-c", script, "sh", dir)
	in, err := other.StdinPipe()
	if err != nil {
		return err
	}
	out, err := other.StdoutPipe()
	if err != nil {
		return err
	}
	other.Stderr = os.Stderr
	if err := other.Start(); err != nil {
		return err
	}
	said := make([]byte, 6)
	if _, err := out.Read(said); err != nil || string(said) != "ready\n" {
		return fmt.Errorf("the other process said %q, %v", said, err)
	}
	if _, _, err := prepare(dir); err != nil {
		return err
	}
	log := filepath.Join(dir, "log", "access.log")
	first, err := os.OpenFile(log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(in, "go"); err != nil {
		return err
	}
	if err := other.Wait(); err != nil { // it reads to the end of out
		return err
	}
	for name, want := range map[string]string{"cert": "two\n", "users": "new\n", "resolv.conf": "new\n"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); string(got) != want || err != nil {
			return fmt.Errorf("%s holds %q, %v", name, got, err)
		}
	}
	second, err := os.OpenFile(log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return fmt.Errorf("the log is not opened again: %w", err)
	}
	_, err1 := first.WriteString("a")
	_, err2 := second.WriteString("b")
	return errors.Join(err1, err2)
}

// A name stands for its folder, for what it leads to, or for itself if it is a folder or
// a device.
func TestNames(t *testing.T) {
	t.Parallel()
	inSandbox(t, "names")
}

func actNames(dir string) error {
	at := func(names ...string) string { return filepath.Join(append([]string{dir}, names...)...) }
	err := errors.Join(os.Mkdir(at("acme"), 0o700), os.Mkdir(at("link"), 0o700), os.Mkdir(at("real"), 0o700), os.Mkdir(at("pipes"), 0o700),
		os.WriteFile(at("real", "log"), nil, 0o600), os.Symlink(at("real", "log"), at("link", "log")), unix.Mkfifo(at("pipes", "fifo"), 0o600))
	if err != nil {
		return err
	}
	s, err := Apply([]string{at("acme"), at("link", "log"), at("pipes", "fifo"), "/dev/null"}, nil)
	want := Status{Hardened: true, Landlock: s.Landlock, Folders: []string{at("acme"), at("link"), at("real")}, Files: []string{"/dev/null", at("pipes", "fifo")}}
	if err != nil || !reflect.DeepEqual(s, want) {
		return fmt.Errorf("status %+v, want %+v, %v", s, want, err)
	}
	fifo, err := os.OpenFile(at("pipes", "fifo"), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_, err = fifo.WriteString("x")
	return errors.Join(err, os.WriteFile("/dev/null", nil, 0), os.WriteFile(at("link", "log"), nil, 0o600),
		os.Remove(at("real", "log")), os.WriteFile(at("link", "log"), nil, 0o600), os.WriteFile(at("acme", "key"), nil, 0o600),
		denied("removing the FIFO", os.Remove(at("pipes", "fifo"))), denied("a file beside the FIFO", os.WriteFile(at("pipes", "x"), nil, 0o600)))
}

// Sockets are made, connected to, and removed at the end.
func TestSockets(t *testing.T) {
	t.Parallel()
	inSandbox(t, "socket")
}

func actSocket(dir string) error {
	path := filepath.Join(dir, "log", "socket")
	if err := os.Mkdir(filepath.Join(dir, "log"), 0o700); err != nil {
		return err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	if _, err := Apply([]string{path}, nil); err != nil {
		return err
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	conn.Close()
	if err := l.Close(); err != nil {
		return err
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		return fmt.Errorf("the socket's file is still there: %v", err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0") // there are no rules for ports
	if err != nil {
		return err
	}
	return tcp.Close()
}
