//go:build unix

package stdio

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// CheckHandOver says why no socket can be handed over through out: it is no
// unix socket. Nothing is sent, and no flag of out is changed.
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

// sendSocket sends the socket's descriptor through out, and waits where that
// takes nothing at the moment.
func sendSocket(out *os.File, Conn syscall.RawConn) error {
	through, err := out.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	failed := Conn.Control(func(fd uintptr) {
		// The flag is one for all who have the socket: it goes over as one
		// that was just made. ssh sets what it wants.
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
			unix.SetNonblock(int(fd), true) // it remains ours
		}
	})
	if failed != nil {
		return failed
	}
	return os.NewSyscallError("sendmsg", sent)
}
