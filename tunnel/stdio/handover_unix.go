//go:build unix

package stdio

import (
	"errors"
	"os"
	"syscall"

	"culvert/tunnel/internal/vanish"

	"golang.org/x/sys/unix"
)

// CheckHandOver returns an error if out is no unix socket, so that no socket can be
// handed over through it. It sends nothing, and changes no flag of out. The error is
// worded to follow the name of out.
func CheckHandOver(out *os.File) error {
	raw, err := out.SyscallConn()
	if err != nil {
		return err
	}
	var local unix.Sockaddr
	if failed := raw.Control(func(fd uintptr) { local, err = unix.Getsockname(int(fd)) }); failed != nil {
		return failed
	}
	if _, ok := local.(*unix.SockaddrUnix); err != nil || !ok {
		return errors.New("is no unix socket")
	}
	return nil
}

// sendSocket sends the descriptor of a socket through out. It waits until out accepts
// it.
func sendSocket(out *os.File, socket syscall.RawConn) error {
	through, err := out.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	failed := socket.Control(func(fd uintptr) {
		// The other process may not look for a peer that has vanished, so the kernel should.
		_ = vanish.SetOptions(fd)
		// All processes that have the socket share this flag. The other one gets the
		// socket as if it were new, and sets what it needs.
		if sent = unix.SetNonblock(int(fd), false); sent != nil {
			return
		}
		failed := through.Write(func(to uintptr) bool {
			for sent = unix.EINTR; sent == unix.EINTR; {
				sent = unix.Sendmsg(int(to), []byte{0}, unix.UnixRights(int(fd)), nil, 0)
			}
			return sent != unix.EAGAIN
		})
		if failed != nil {
			sent = failed
		}
		if sent != nil {
			unix.SetNonblock(int(fd), true) // the socket stays with this process
		}
	})
	if failed != nil {
		return failed
	}
	return os.NewSyscallError("sendmsg", sent)
}
