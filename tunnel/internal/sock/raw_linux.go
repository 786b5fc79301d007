package sock

import (
	"net"
	"os"
	"syscall"
)

// RawOf returns the descriptor of a plain stream socket, else nil.
func RawOf(conn net.Conn) syscall.RawConn {
	switch c := conn.(type) {
	case TCP:
		if raw, err := c.SyscallConn(); err == nil {
			return raw
		}
	case *net.UnixConn:
		if raw, err := c.SyscallConn(); err == nil && c.LocalAddr().Network() == "unix" {
			return raw
		}
	}
	return nil
}

// OpError makes a system call's error one like package net's.
func OpError(op string, conn net.Conn, err error) error {
	return &net.OpError{Op: op, Net: conn.LocalAddr().Network(), Source: conn.LocalAddr(), Addr: conn.RemoteAddr(), Err: os.NewSyscallError(op, err)}
}
