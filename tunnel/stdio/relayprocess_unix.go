//go:build unix

package stdio

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A tunnel that is more than its socket, as one over TLS or HTTP/2, cannot be
// handed over. Instead the program is started anew, as a process that opens the
// tunnel and relays between it and a socket pair, whose other end is handed
// over. Whoever is waiting for this process to end need not wait for that one.

// relayVariable tells the process that it is one; relaySocket and relayStatus are
// the descriptors it has for it.
const (
	relayVariable = "CULVERT_INTERNAL_RELAY"
	relaySocket   = 3
	relayStatus   = 4
)

// HandOverRelay starts this program again with the same arguments, whose dial
// must then find a RelayProcess, waits until that has opened its tunnel, and
// hands the socket to it over through out, which must pass CheckHandOver. The
// new process lives for as long as the tunnel, in a session of its own. Until
// the tunnel is open what it says on stderr goes to stderr. opened is called then,
// before the socket is handed over. A code that is not 0 is its exit code: it has
// said why.
func HandOverRelay(out *os.File, stderr io.Writer, opened func()) (code int, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return 0, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "socket"), os.NewFile(uintptr(pair[1]), "socket")
	defer ours.Close()
	unix.CloseOnExec(pair[0])
	unix.CloseOnExec(pair[1])
	status, tells, err := os.Pipe()
	if err != nil {
		theirs.Close()
		return 0, err
	}
	defer status.Close()
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), relayVariable+"=1")
	cmd.ExtraFiles = []*os.File{theirs, tells}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	says, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	theirs.Close()
	tells.Close()
	if err != nil {
		return 0, err
	}
	_, _ = io.Copy(stderr, says) // to its end: the process closes it once the tunnel is open
	if n, _ := io.ReadFull(status, make([]byte, 1)); n == 0 {
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) {
			return 0, errors.Join(errors.New("the process that was to relay ended without a tunnel"), err)
		}
		return exit.ExitCode(), nil
	}
	opened()
	raw, err := ours.SyscallConn()
	if err == nil {
		err = sendSocket(out, raw)
	}
	if outputClosed(err) {
		err = ErrOutputClosed
	}
	return 0, err
}

// RelayProcess is a process's place behind a socket that was handed over.
type RelayProcess struct {
	Socket *os.File // input and output
	status *os.File
}

// FindRelayProcess returns this process's, nil if it is none that HandOverRelay
// started.
func FindRelayProcess() *RelayProcess {
	if os.Getenv(relayVariable) == "" {
		return nil
	}
	unix.CloseOnExec(relaySocket)
	unix.CloseOnExec(relayStatus)
	return &RelayProcess{os.NewFile(relaySocket, "socket"), os.NewFile(relayStatus, "status")}
}

// Context is for opening the tunnel: it is cancelled when the process that waits
// for the tunnel is gone, which no deadline need ever notice. A nil RelayProcess's
// is never cancelled.
func (b *RelayProcess) Context() context.Context {
	if b == nil {
		return context.Background()
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		waiting := []unix.PollFd{{Fd: relayStatus}} // POLLERR and POLLHUP come unasked
		for err := error(unix.EINTR); err == unix.EINTR; {
			_, err = unix.Poll(waiting, -1)
		}
	}()
	return ctx
}

// Opened tells that the tunnel is open. From then on nobody hears what is said
// on stderr.
func (b *RelayProcess) Opened() error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	for fd := range 3 {
		if err := duplicate(int(null.Fd()), fd); err != nil {
			return os.NewSyscallError("dup", err)
		}
	}
	if _, err := io.Copy(b.status, strings.NewReader("\x00")); err != nil {
		return err
	}
	return b.status.Close()
}
