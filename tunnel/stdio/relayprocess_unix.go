//go:build unix

package stdio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A tunnel that is more than a socket, such as one over TLS or HTTP/2, cannot be
// handed over. Instead the program is started a second time. The second process opens
// the tunnel and relays between it and one end of a socket pair; the first hands the
// other end over and exits, which ssh waits for.

const (
	relayVariable = "CULVERT_INTERNAL_RELAY" // set in the environment of the relay process
	relaySocket   = 3                        // its descriptor of the socket
	relayStatus   = 4                        // its descriptor of the pipe that reports the open tunnel
	relayOrders   = 5                        // its descriptor of the pipe that its orders come from
)

// HandOverRelay hands over a socket behind which a second process relays. It starts
// this program again; the new process must call FindRelayProcess, open the tunnel of the
// orders and call Opened. HandOverRelay waits for this,
// calls opened, and then passes the socket on through out, for which CheckHandOver must
// return nil. The new process lives as long as the tunnel, in a session of its own. Every
// user of the machine can read its arguments for so long: they are shown, which must
// hold no secret, and what it needs to know goes through a pipe.
//
// Until the tunnel is open, the standard error of the new process is copied to stderr.
// A code other than 0 is its exit code: it ended without a tunnel and has printed the
// reason. The error is ErrOutputClosed if the other end of out is closed.
func HandOverRelay(out *os.File, stderr io.Writer, shown []string, orders RelayOrders, opened func()) (code int, err error) {
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
	status, report, err := os.Pipe()
	if err != nil {
		theirs.Close()
		return 0, err
	}
	defer status.Close()
	read, write, err := os.Pipe()
	if err != nil {
		theirs.Close()
		report.Close()
		return 0, err
	}
	cmd := exec.Command(self, shown...)
	cmd.Env = append(os.Environ(), relayVariable+"=1")
	cmd.ExtraFiles = []*os.File{theirs, report, read}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	messages, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	theirs.Close()
	report.Close()
	read.Close()
	if err != nil {
		write.Close()
		return 0, err
	}
	go func() { // a process that has failed does not read them
		_ = json.NewEncoder(write).Encode(orders)
		write.Close()
	}()
	_, _ = io.Copy(stderr, messages) // until the process closes it, once the tunnel is open
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

// RelayProcess is this process, started by HandOverRelay to relay between a tunnel and
// a socket that is handed over.
type RelayProcess struct {
	Socket *os.File // the input and output of the tunnel; the caller closes it
	Orders RelayOrders
	status *os.File
}

// FindRelayProcess returns the RelayProcess if HandOverRelay has started this process,
// else nil. The processes that this one starts do not take themselves for one.
func FindRelayProcess() (*RelayProcess, error) {
	if os.Getenv(relayVariable) == "" {
		return nil, nil
	}
	_ = os.Unsetenv(relayVariable)
	for fd := relaySocket; fd <= relayOrders; fd++ {
		unix.CloseOnExec(fd)
	}
	p := &RelayProcess{Socket: os.NewFile(relaySocket, "socket"), status: os.NewFile(relayStatus, "status")}
	orders := os.NewFile(relayOrders, "orders")
	defer orders.Close()
	if err := json.NewDecoder(orders).Decode(&p.Orders); err != nil {
		return nil, fmt.Errorf("%s is set, and is for culvert itself: %w", relayVariable, err)
	}
	return p, nil
}

// Context returns the context in which to open the tunnel. It is cancelled when the
// process that waits for the tunnel is gone, for there need not be a deadline. The
// context of a nil RelayProcess is never cancelled.
func (p *RelayProcess) Context() context.Context {
	if p == nil {
		return context.Background()
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		waiting := []unix.PollFd{{Fd: relayStatus}} // POLLERR and POLLHUP need not be asked for
		for err := error(unix.EINTR); err == unix.EINTR; {
			_, err = unix.Poll(waiting, -1)
		}
	}()
	return ctx
}

// Opened reports that the tunnel is open. It redirects standard input, output and error
// to the null device, because the process outlives the one that started it.
func (p *RelayProcess) Opened() error {
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
	if _, err := io.Copy(p.status, strings.NewReader("\x00")); err != nil {
		return err
	}
	return p.status.Close()
}
