//go:build linux

package splice

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// waiter waits for an epoll instance in the place where Go's goroutines wait
// for their sockets: the instance is itself registered with Go's poller. A
// goroutine that blocks in epoll_wait(2) costs as little by itself, but keeps a
// processor from the goroutines that shake hands until the scheduler's monitor
// takes it away.
type waiter struct {
	file     *os.File
	raw      syscall.RawConn
	poll     func(uintptr) bool // fills events, and reports whether there are any
	deadline time.Time          // as set

	events []unix.EpollEvent
	n      int
}

// init takes over the descriptor, and closes it if it fails.
func (w *waiter) init(epoll int) error {
	if err := unix.SetNonblock(epoll, true); err != nil {
		_ = unix.Close(epoll)
		return os.NewSyscallError("fcntl", err)
	}
	w.file = os.NewFile(uintptr(epoll), "epoll")
	// It fails if Go's poller did not take the descriptor.
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

// wait fills events and returns how many there are, or 0 once the deadline has
// passed; the zero deadline never does.
func (w *waiter) wait(events []unix.EpollEvent, deadline time.Time) int {
	if !deadline.Equal(w.deadline) {
		w.deadline = deadline
		_ = w.file.SetReadDeadline(deadline)
	}
	w.events, w.n = events, 0
	if err := w.raw.Read(w.poll); err != nil {
		w.poll(0) // not Fd: that makes it a blocking file
	}
	return w.n
}

func (w *waiter) close() { _ = w.file.Close() }
