// Package neterr classifies the errors of connections: those of sockets, of HTTP/2 and
// of the contexts that limit them. It imports nothing of this module but internal/h2.
package neterr

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"syscall"

	"culvert/tunnel/internal/h2"
)

// Timeout reports whether err means that a deadline passed: that of a context, that of
// a connection, or the system's for a peer that does not answer.
func Timeout(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT)
}

// Reset reports whether err means that the connection or HTTP/2 stream was aborted and
// not closed in order.
func Reset(err error) bool {
	var stream *h2.StreamError
	var conn *h2.ConnError
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNABORTED) ||
		errors.As(err, &stream) || errors.As(err, &conn)
}

// Lack returns what this machine, or this process, lacks for another connection, in words
// that fit a client's error page; "" if err is about something else. It is not the peer's
// fault then.
func Lack(err error) string {
	is := func(errnos ...syscall.Errno) bool {
		return slices.ContainsFunc(errnos, func(errno syscall.Errno) bool { return errors.Is(err, errno) })
	}
	var op *net.OpError
	switch {
	case is(syscall.EADDRNOTAVAIL, syscall.EADDRINUSE):
		return "no local port is left for another connection to this address"
	case is(syscall.EMFILE, syscall.ENFILE):
		return "no file descriptor is left for another connection"
	case is(syscall.ENOBUFS, syscall.ENOMEM):
		return "no memory is left for another connection"
	case is(syscall.EAGAIN) && !(errors.As(err, &op) && op.Net == "unix"): // there the listener's queue is full
		return "the system cannot make another connection for now"
	}
	return ""
}

// Plain returns the error inside a *net.OpError and an *os.SyscallError, which add no
// more than the operation and the addresses. It returns other errors, and nil, as they
// are.
func Plain(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		err = op.Err
	}
	var call *os.SyscallError
	if errors.As(err, &call) && call.Err != nil {
		err = call.Err
	}
	return err
}
