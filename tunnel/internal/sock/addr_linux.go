package sock

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sockaddr is an IPv4 or IPv6 address in the form that the kernel uses.
type sockaddr struct {
	raw  unix.RawSockaddrInet6 // the larger of the two forms
	size uint32
}

// sockaddrOf returns the kernel's form of an address that has no zone.
func sockaddrOf(ap netip.AddrPort) (a sockaddr, family int) {
	var port [2]byte
	binary.BigEndian.PutUint16(port[:], ap.Port())
	if addr := ap.Addr().Unmap(); addr.Is4() {
		in4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&a.raw))
		in4.Family, in4.Addr = unix.AF_INET, addr.As4()
		in4.Port = binary.NativeEndian.Uint16(port[:])
		a.size = unix.SizeofSockaddrInet4
		return a, unix.AF_INET
	}
	a.raw.Family, a.raw.Addr = unix.AF_INET6, ap.Addr().As16()
	a.raw.Port = binary.NativeEndian.Uint16(port[:])
	a.size = unix.SizeofSockaddrInet6
	return a, unix.AF_INET6
}

// addrPort returns the address that the kernel has filled in. It is invalid if it
// belongs to another address family.
func (a *sockaddr) addrPort() netip.AddrPort {
	var port [2]byte
	binary.NativeEndian.PutUint16(port[:], a.raw.Port) // at the same offset in both forms
	p := binary.BigEndian.Uint16(port[:])
	switch a.raw.Family {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(&a.raw)).Addr), p)
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.raw.Addr), p)
	}
	return netip.AddrPort{}
}
