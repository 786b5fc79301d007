package sock

import (
	"net"
	"net/netip"
)

// EndsHere reports whether a TCP connection leads to this host itself. Unlike
// LeadsHere it looks at the connection that there is: a kernel that connects to one of
// its own addresses takes the same address for the near end, or one of loopback.
func EndsHere(conn net.Conn) bool {
	near, far := addrPort(conn.LocalAddr()), addrPort(conn.RemoteAddr())
	switch {
	case !near.IsValid() || !far.IsValid():
		return false
	case near.Addr() == far.Addr(), near.Addr().IsLoopback():
		return true
	}
	// Where a whole network leads here, the near end may be any address of this host.
	return LeadsHere(far)
}

// addrPort returns the address of an end of a TCP connection, without a zone.
func addrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

// nearEndIsFar reports whether the system would take ap itself for the near end of a
// connection to it, as it does for its own addresses. No packet is sent: to connect
// by UDP only chooses a route.
func nearEndIsFar(ap netip.AddrPort) bool {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(ap))
	if err != nil {
		return false
	}
	defer conn.Close()
	near := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	return near.IsLoopback() || near.WithZone("") == ap.Addr().Unmap().WithZone("")
}
