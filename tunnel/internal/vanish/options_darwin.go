package vanish

import "golang.org/x/sys/unix"

// SetOptions limits how long the kernel retransmits to a peer that answers nothing
// (TCP_RXT_CONNDROPTIME). A peer that acknowledges the probes of its closed window is
// not affected.
func SetOptions(fd uintptr) error {
	return unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_RXT_CONNDROPTIME, int(Usual.Limit.Seconds()))
}
