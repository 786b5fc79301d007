//go:build linux

package splice

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// waiter waits for an epoll instance as goroutines wait for their sockets: the instance
// itself is registered with Go's poller. A goroutine that blocks in epoll_wait(2) is no
// more expensive, but it occupies a processor, which other goroutines do not get until
// the monitor of the scheduler takes it away.
type waiter struct {
	file     *os.File
	raw      syscall.RawConn
	poll     func(uintptr) bool // fills events, and reports whether there are any
	deadline time.Time          // the read deadline of file

	events []unix.EpollEvent
	n      int
}

// init takes ownership of the descriptor, and closes it if it fails.
func (w *waiter) init(epoll int) error {
	if err := unix.SetNonblock(epoll, true); err != nil {
		_ = unix.Close(epoll)
		return os.NewSyscallError("fcntl", err)
	}
	w.file = os.NewFile(uintptr(epoll), "epoll")
	// This fails if Go's poller did not accept the descriptor.
	err := w.file.SetReadDeadline(time.Time{})
	if err == nil {
		w.raw, err = w.file.SyscallConn()
	}
	if err != nil {
		_ = w.file.Close()
		return err
	}
	w.poll = func(uintptr) bool {
		w.n = poll(epoll, w.events)
		return w.n > 0
	}
	return nil
}

// wait waits for events and returns how many there are, or 0 when the deadline has
// passed. The zero deadline means none.
func (w *waiter) wait(events []unix.EpollEvent, deadline time.Time) int {
	if !deadline.Equal(w.deadline) {
		w.deadline = deadline
		_ = w.file.SetReadDeadline(deadline)
	}
	w.events, w.n = events, 0
	if err := w.raw.Read(w.poll); err != nil {
		w.poll(0) // not Fd, which makes the file blocking
	}
	return w.n
}

func (w *waiter) close() { _ = w.file.Close() }
