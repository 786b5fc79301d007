package sock

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"
)

// LeadsHere reports whether the kernel would deliver a TCP connection to ap to this
// host itself. That is more than the addresses of the interfaces: a route of the type
// local makes whole networks this host's, in whatever table the rules of routing lead
// to. The answer is the kernel's own and of this moment (rtnetlink(7), RTM_GETROUTE).
func LeadsHere(ap netip.AddrPort) bool {
	kind, err := routes.ask(ap)
	if err != nil {
		return nearEndIsFar(ap)
	}
	return kind == unix.RTN_LOCAL || kind == unix.RTN_ANYCAST
}

// hereDescriptors returns the number of descriptors that are kept open for LeadsHere.
func hereDescriptors() int {
	routes.mu.Lock()
	defer routes.mu.Unlock()
	if routes.open {
		return 1
	}
	return 0
}

// routes is the socket on which the kernel is asked for routes. It stays open.
var routes routeSocket

// routeSocket is a socket of rtnetlink(7).
type routeSocket struct {
	mu   sync.Mutex
	open bool
	fd   int
	seq  uint32
}

// errNoAnswer is the error for an answer that does not belong to the question.
var errNoAnswer = errors.New("the kernel did not answer for a route")

// ask returns the type of the route to an address, RTN_UNREACHABLE if there is none.
func (s *routeSocket) ask(ap netip.AddrPort) (kind byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.open {
		if s.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE); err != nil {
			return 0, err
		}
		s.open = true
	}
	s.seq++
	kind, err = s.exchange(routeQuestion(ap, s.seq))
	if err != nil { // what may still come belongs to no later question
		s.open = false
		unix.Close(s.fd)
	}
	return kind, err
}

// exchange sends a question and reads its answer, which is there when the question has
// been sent.
func (s *routeSocket) exchange(question []byte) (kind byte, err error) {
	if err := unix.Sendto(s.fd, question, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, err
	}
	var buf [1024]byte
	n, _, err := unix.Recvfrom(s.fd, buf[:], unix.MSG_DONTWAIT)
	if err != nil {
		return 0, err
	}
	answer := buf[:n]
	if n < unix.NLMSG_HDRLEN+unix.SizeofRtMsg || binary.NativeEndian.Uint32(answer[8:]) != s.seq {
		return 0, errNoAnswer
	}
	switch binary.NativeEndian.Uint16(answer[4:]) {
	case unix.RTM_NEWROUTE:
		return answer[unix.NLMSG_HDRLEN+7], nil // rtm_type
	case unix.NLMSG_ERROR:
		switch errno := unix.Errno(-int32(binary.NativeEndian.Uint32(answer[unix.NLMSG_HDRLEN:]))); errno {
		case unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EACCES, unix.EINVAL: // EACCES: prohibit; EINVAL: blackhole
			return unix.RTN_UNREACHABLE, nil
		default:
			return 0, errno
		}
	}
	return 0, errNoAnswer
}

// routeQuestion returns a message that asks for the route of a TCP connection to an
// address. Rules of routing may depend on protocol and port.
func routeQuestion(ap netip.AddrPort, seq uint32) []byte {
	addr := ap.Addr().Unmap()
	family, dst := byte(unix.AF_INET6), addr.AsSlice()
	if addr.Is4() {
		family = unix.AF_INET
	}
	native := binary.NativeEndian
	b := make([]byte, unix.NLMSG_HDRLEN+unix.SizeofRtMsg, 128)
	native.PutUint16(b[4:], unix.RTM_GETROUTE)
	native.PutUint16(b[6:], unix.NLM_F_REQUEST)
	native.PutUint32(b[8:], seq)
	b[unix.NLMSG_HDRLEN] = family
	b[unix.NLMSG_HDRLEN+1] = byte(addr.BitLen()) // rtm_dst_len
	attribute := func(kind uint16, value []byte) {
		b = native.AppendUint16(b, uint16(4+len(value)))
		b = native.AppendUint16(b, kind)
		b = append(b, value...)
		b = append(b, make([]byte, -len(value)&3)...)
	}
	attribute(unix.RTA_DST, dst)
	attribute(unix.RTA_IP_PROTO, []byte{unix.IPPROTO_TCP})
	attribute(unix.RTA_DPORT, binary.BigEndian.AppendUint16(nil, ap.Port()))
	if zone := addr.Zone(); zone != "" {
		if link, err := net.InterfaceByName(zone); err == nil {
			attribute(unix.RTA_OIF, native.AppendUint32(nil, uint32(link.Index)))
		}
	}
	native.PutUint32(b, uint32(len(b)))
	return b
}
