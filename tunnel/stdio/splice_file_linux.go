package stdio

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// spliceFile is an input or output that splice(2) accepts. Other programs may have it
// open too, so none of its flags is changed, nor the size of a pipe, of which a user
// has a limited share.
type spliceFile struct {
	raw      syscall.RawConn
	kind     uint32 // S_IFIFO, S_IFREG or S_IFSOCK
	unpolled bool   // it is not in Go's poller, because it was blocking when it was opened
}

// spliceFileOf returns nil for a stream that is better copied: a terminal, a device, a
// socket that preserves message boundaries, or anything but a file.
func spliceFileOf(stream any) *spliceFile {
	file, ok := stream.(*os.File)
	if !ok {
		return nil
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return nil
	}
	f, fits := &spliceFile{raw: raw}, false
	err = raw.Control(func(fd uintptr) {
		var stat unix.Stat_t
		if unix.Fstat(int(fd), &stat) != nil {
			return
		}
		switch f.kind = stat.Mode & unix.S_IFMT; f.kind {
		case unix.S_IFIFO, unix.S_IFREG:
			fits = true
		case unix.S_IFSOCK:
			kind, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TYPE)
			fits = err == nil && kind == unix.SOCK_STREAM
		}
	})
	if err != nil || !fits {
		return nil
	}
	return f
}

// awaitRoom waits until f can be written to, and reports whether it had to wait. If f is
// not in Go's poller it blocks a thread meanwhile, as a write would.
func (f *spliceFile) awaitRoom() (waited bool, err error) {
	if !f.unpolled {
		asked := false
		err = f.raw.Write(func(fd uintptr) bool {
			waited, asked = asked, true
			return waited || ready(fd, unix.POLLOUT)
		})
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			return waited, err
		}
		f.unpolled = true // or it was closed, which the next call finds out too
	}
	failed := f.raw.Control(func(fd uintptr) {
		if waited = !ready(fd, unix.POLLOUT); waited {
			_, err = pollOne(fd, unix.POLLOUT, -1)
		}
	})
	return waited, errors.Join(failed, err)
}

// ready reports whether a descriptor can be read from (POLLIN) or written to (POLLOUT)
// now.
func ready(fd uintptr, event int16) bool {
	n, err := pollOne(fd, event, 0)
	return n != 0 || err != nil
}

// pollOne is poll(2) for one descriptor, repeated if a signal interrupts it.
func pollOne(fd uintptr, event int16, milliseconds int) (n int, err error) {
	polled := []unix.PollFd{{Fd: int32(fd), Events: event}}
	for {
		if n, err = unix.Poll(polled, milliseconds); err != unix.EINTR {
			return n, err
		}
	}
}
