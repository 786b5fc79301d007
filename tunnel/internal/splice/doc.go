// Package splice relays between pairs of stream sockets on a few epoll(7) loops. It
// works on Linux only; elsewhere the package is empty. It imports nothing of this module
// but package vanish.
//
// A tunnel is two descriptors and one struct. It has no goroutine, no timer of the
// runtime, and no buffer or pipe while no bytes are on their way. Each tunnel belongs
// to one loop, and only the goroutine of that loop reads from, writes to and closes its
// descriptors.
//
//	Add ──▶ slot, epoll_ctl ──▶ events ──▶ turn: receive ─▶ flush ──▶ both ways over ──▶ close ──▶ done
//	Stop ─▶ inbox, eventfd ──▶ ────┘          small pieces: read, send           on a goroutine of its own
//	                    timers ────┘          large ones: splice, pipe, splice
//
// An event names a slot and the generation of that slot, never a descriptor or an
// address. The loop finds the *Tunnel by both, under the lock that guards them, and the
// tunnel knows whether it has ended. So the event of a tunnel is never taken for that
// of a later one with the same descriptor or the same slot.
package splice
