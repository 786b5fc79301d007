package tunnel

import (
	"net"
	"os"
	"syscall"
)

// socketOf returns the descriptor of a plain stream socket, else nil.
func socketOf(conn net.Conn) syscall.RawConn {
	switch c := conn.(type) {
	case tcpConn:
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

// socketError makes a system call's error one like package net's.
func socketError(op string, conn net.Conn, err error) error {
	return &net.OpError{Op: op, Net: conn.LocalAddr().Network(), Source: conn.LocalAddr(), Addr: conn.RemoteAddr(), Err: os.NewSyscallError(op, err)}
}
