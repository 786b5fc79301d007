package vanish

import (
	"time"

	"golang.org/x/sys/unix"
)

// Watch is what the looks at one socket have found so far. The zero Watch is ready to
// use.
type Watch struct {
	since  time.Duration // when bytes were first seen on their way, or were again after a pause; 0 = none are
	looked time.Duration // the last look
	hurry  bool          // the kernel was told to send retransmissions and probes more often
}

// Look returns the state of a socket. Now is the time of a monotonic clock, greater than
// 0. Look never waits.
//
// Silence counts from the first look that saw bytes on their way: the acknowledgement
// before them may be hours old. It counts anew when the looks have paused, because a
// machine that slept has heard from nobody.
func (w *Watch) Look(fd int, now time.Duration, pace Pace) State {
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ) // bytes that the peer has not acknowledged, and its end of file
	if err != nil || n == 0 {
		*w = Watch{}
		return Empty
	}
	info, err := unix.GetsockoptTCPInfo(fd, unix.SOL_TCP, unix.TCP_INFO)
	if err != nil || info.State == unix.BPF_TCP_CLOSE { // no TCP, or it has ended
		*w = Watch{}
		return Empty
	}
	if w.since == 0 || now-w.looked > 3*pace.Every {
		w.since = now
	}
	w.looked = now
	silence := min(now-w.since, time.Duration(min(info.Last_ack_recv, info.Last_data_recv))*time.Millisecond)
	if silence >= pace.Every && !w.hurry {
		// Of two probes that are two minutes apart one may be lost. The option is
		// known since Linux 6.15.
		w.hurry = true
		_ = unix.SetsockoptInt(fd, unix.SOL_TCP, unix.TCP_RTO_MAX_MS, int(max(pace.Limit/5, time.Second).Milliseconds()))
	}
	if silence < pace.Limit || info.Unacked == 0 && info.Probes < 2 {
		// All bytes that the window allows are acknowledged, and at most one probe is not,
		// which may have been lost.
		return Pending
	}
	return Gone
}

// SetOptions limits how long the kernel retransmits to a peer that answers nothing. It is
// for a socket that is handed to another program, which nobody will look at. It has no
// effect before Linux 6.15.
func SetOptions(fd uintptr) error {
	// With the usual 15 retransmissions, the kernel gives up after about 160 seconds.
	return unix.SetsockoptInt(int(fd), unix.SOL_TCP, unix.TCP_RTO_MAX_MS, 15_000)
}
