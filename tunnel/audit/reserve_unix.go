//go:build unix

package audit

import (
	"net/netip"
	"syscall"
)

// reservePort binds a free port of addr without listening on it, so that connections
// to it are refused and no other program can take it until release is called.
func reservePort(addr netip.Addr) (port uint16, release func(), err error) {
	family, local := syscall.AF_INET, syscall.Sockaddr(nil)
	if addr.Is4() {
		local = &syscall.SockaddrInet4{Addr: addr.As4()}
	} else {
		family, local = syscall.AF_INET6, &syscall.SockaddrInet6{Addr: addr.As16()}
	}
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM, 0)
	if err != nil {
		return 0, nil, err
	}
	syscall.CloseOnExec(fd)
	release = func() { _ = syscall.Close(fd) }
	if err := syscall.Bind(fd, local); err != nil {
		release()
		return 0, nil, err
	}
	bound, err := syscall.Getsockname(fd)
	if err != nil {
		release()
		return 0, nil, err
	}
	switch bound := bound.(type) {
	case *syscall.SockaddrInet4:
		return uint16(bound.Port), release, nil
	case *syscall.SockaddrInet6:
		return uint16(bound.Port), release, nil
	}
	release()
	return 0, nil, syscall.EAFNOSUPPORT
}
