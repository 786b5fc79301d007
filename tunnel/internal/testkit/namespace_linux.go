package testkit

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// insideEnv names, in a process of InNamespace, the test that runs there.
const insideEnv = "CULVERT_TEST_INSIDE"

// InNamespace reports whether the test runs in network and mount namespaces of its own,
// with loopback up and nothing else. If it does not, InNamespace runs the test once more,
// alone, in a process that does, and fails as that one does; the caller then returns.
// Where such namespaces are not allowed, or the program ip is missing, the test is
// skipped.
func InNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideEnv) == t.Name() {
		Run(t, "ip", "link", "set", "lo", "up")
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		return true
	}
	if _, err := exec.LookPath("ip"); err != nil {
		if os.Getenv("CULVERT_REAL") == "1" {
			t.Fatal("ip is not installed, and CULVERT_REAL=1")
		}
		t.Skip("ip is not installed (Debian: iproute2)")
	}
	inside := exec.Command(os.Args[0], "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.v=true", "-test.timeout=2m")
	inside.Env = append(os.Environ(), insideEnv+"="+t.Name())
	inside.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		inside.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		inside.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		inside.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := inside.CombinedOutput()
	var exited *exec.ExitError
	switch {
	case err == nil:
		if !strings.Contains(string(out), "--- PASS: "+t.Name()) {
			t.Fatalf("the test did not run in its namespaces:\n%s", out)
		}
	case errors.As(err, &exited):
		t.Errorf("in its namespaces:\n%s", out)
	default:
		t.Skip("this process may not make namespaces: ", err)
	}
	return false
}

// Run runs a program, which must succeed.
func Run(t testing.TB, name string, arg ...string) {
	t.Helper()
	if out, err := exec.Command(name, arg...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(arg, " "), err, out)
	}
}

// ReplaceFile puts text in the place of a system's file, in the mount namespace that
// InNamespace has made.
func ReplaceFile(t testing.TB, path, text string) {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "file")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := file.Chmod(0o644); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(file.Name(), path, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
}

// ListenUDP opens a UDP socket, which is closed when the test ends.
func ListenUDP(t testing.TB, address string) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.UDPConn)
}
