package neterr

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/tunnel/internal/h2"
)

// wrapped wraps the error of a system call as package net does.
func wrapped(errno syscall.Errno) error {
	return fmt.Errorf("above: %w", &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", errno)})
}

func TestTimeoutAndReset(t *testing.T) {
	for _, tt := range []struct {
		name           string
		err            error
		timeout, reset bool
	}{
		{"none", nil, false, false},
		{"a context's deadline", fmt.Errorf("dial: %w", context.DeadlineExceeded), true, false},
		{"a cancelled context", context.Canceled, false, false},
		{"a conn's deadline", &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, true, false},
		{"a peer that does not answer", wrapped(syscall.ETIMEDOUT), true, false},
		{"the end", io.EOF, false, false},
		{"a closed conn", net.ErrClosed, false, false},
		{"refused", wrapped(syscall.ECONNREFUSED), false, false},
		{"reset", wrapped(syscall.ECONNRESET), false, true},
		{"aborted", wrapped(syscall.ECONNABORTED), false, true},
		{"written to after it was closed", wrapped(syscall.EPIPE), false, true},
		{"a stream", fmt.Errorf("read: %w", &h2.StreamError{ID: 1, Code: h2.CodeCancel}), false, true},
		{"the connection beneath streams", &h2.ConnError{Code: h2.CodeProtocol}, false, true},
	} {
		if got := Timeout(tt.err); got != tt.timeout {
			t.Errorf("%s: Timeout is %v", tt.name, got)
		}
		if got := Reset(tt.err); got != tt.reset {
			t.Errorf("%s: Reset is %v", tt.name, got)
		}
	}
}

// The errors that the kernel and package net return after a deadline and a reset.
func TestOfRealConns(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	near.SetReadDeadline(time.Unix(1, 0))
	if _, err := near.Read(make([]byte, 1)); !Timeout(err) || Reset(err) {
		t.Errorf("at a deadline: %v", err)
	}
	near.SetReadDeadline(time.Time{})
	far.(*net.TCPConn).SetLinger(0)
	far.Close()
	if _, err := near.Read(make([]byte, 1)); !Reset(err) || Timeout(err) {
		t.Errorf("after a reset: %v", err)
	}
}

func TestPlain(t *testing.T) {
	for _, tt := range []struct{ err, want error }{
		{nil, nil},
		{io.EOF, io.EOF},
		{wrapped(syscall.ECONNREFUSED), syscall.ECONNREFUSED},
		{os.NewSyscallError("connect", syscall.ENETUNREACH), syscall.ENETUNREACH},
		{&net.OpError{Op: "read", Err: io.ErrUnexpectedEOF}, io.ErrUnexpectedEOF},
	} {
		if got := Plain(tt.err); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.err, got, tt.want)
		}
	}
	if empty := (&net.OpError{Op: "read"}); !errors.Is(Plain(empty), empty) {
		t.Errorf("an OpError around nothing: %v", Plain(empty))
	}
}

// What this machine lacks is not the peer's fault.
func TestLack(t *testing.T) {
	full := &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", syscall.EAGAIN)}
	for _, tt := range []struct {
		err  error
		want string // begins so
	}{
		{nil, ""},
		{wrapped(syscall.EADDRNOTAVAIL), "no local port "},
		{wrapped(syscall.EADDRINUSE), "no local port "},
		{wrapped(syscall.EMFILE), "no file descriptor "},
		{wrapped(syscall.ENFILE), "no file descriptor "},
		{wrapped(syscall.ENOBUFS), "no memory "},
		{wrapped(syscall.ENOMEM), "no memory "},
		{wrapped(syscall.EAGAIN), "the system "},
		{full, ""}, // the queue of the listener
		{wrapped(syscall.ECONNREFUSED), ""},
		{wrapped(syscall.ENETUNREACH), ""},
		{wrapped(syscall.ETIMEDOUT), ""},
		{os.ErrDeadlineExceeded, ""},
		{context.DeadlineExceeded, ""},
	} {
		if got := Lack(tt.err); !strings.HasPrefix(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%v: %q, want %q", tt.err, got, tt.want)
		}
	}
}
