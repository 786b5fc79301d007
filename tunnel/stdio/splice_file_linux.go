package stdio

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// end is a program's input or output as a descriptor that splice(2)
// takes. Other programs may have it open, too: none of its flags is changed,
// nor a pipe's size, which a user has a limited share of.
type end struct {
	raw      syscall.RawConn
	kind     uint32 // S_IFIFO, S_IFREG or S_IFSOCK
	unpolled bool   // Go's poller does not know it: it was blocking when it was opened
}

// endOf returns nil for what is better copied: terminals, devices, sockets
// that keep messages apart, and what is no file at all.
func endOf(stream any) *end {
	file, ok := stream.(*os.File)
	if !ok {
		return nil
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return nil
	}
	e, fits := &end{raw: raw}, false
	err = raw.Control(func(fd uintptr) {
		var stat unix.Stat_t
		if unix.Fstat(int(fd), &stat) != nil {
			return
		}
		switch e.kind = stat.Mode & unix.S_IFMT; e.kind {
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
	return e
}

// awaitRoom waits until e can be written to, and tells if it had to. One that
// Go's poller does not know holds a thread meanwhile, as a write would.
func (e *end) awaitRoom() (waited bool, err error) {
	if !e.unpolled {
		asked := false
		err = e.raw.Write(func(fd uintptr) bool {
			waited, asked = asked, true
			return waited || ready(fd, unix.POLLOUT)
		})
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			return waited, err
		}
		e.unpolled = true // or it was closed, which the next call is told as well
	}
	failed := e.raw.Control(func(fd uintptr) {
		if waited = !ready(fd, unix.POLLOUT); waited {
			_, err = pollOne(fd, unix.POLLOUT, -1)
		}
	})
	return waited, errors.Join(failed, err)
}

// ready reports whether a descriptor can be read from or written to now:
// POLLIN, POLLOUT.
func ready(fd uintptr, event int16) bool {
	n, err := pollOne(fd, event, 0)
	return n != 0 || err != nil
}

func pollOne(fd uintptr, event int16, milliseconds int) (n int, err error) {
	polled := []unix.PollFd{{Fd: int32(fd), Events: event}}
	for {
		if n, err = unix.Poll(polled, milliseconds); err != unix.EINTR {
			return n, err
		}
	}
}
