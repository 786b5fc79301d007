//go:build !unix

package audit

import (
	"net"
	"net/netip"
)

// reservePort finds a free port of addr. Another program may take it at any time.
func reservePort(addr netip.Addr) (port uint16, release func(), err error) {
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
	if err != nil {
		return 0, nil, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort().Port(), func() {}, nil
}
