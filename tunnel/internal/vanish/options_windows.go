package vanish

import "golang.org/x/sys/windows"

// SetOptions limits how long the kernel retransmits to a peer that answers nothing
// (TCP_MAXRT).
func SetOptions(fd uintptr) error {
	return windows.SetsockoptInt(windows.Handle(fd), windows.IPPROTO_TCP, windows.TCP_MAXRT, int(Usual.Limit.Seconds()))
}
