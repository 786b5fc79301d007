// Package splice relays between pairs of stream sockets on a few epoll(7)
// loops. It exists on Linux only; elsewhere the package is empty.
//
// A tunnel is two descriptors and one struct: no goroutine, no timer, and no
// buffer or pipe while nothing is on its way. Each tunnel belongs to one loop,
// and only that loop's goroutine reads, writes and closes its descriptors.
//
//	Add ──▶ slot, epoll_ctl ──▶ events ──▶ turn: receive ─▶ flush ──▶ both ways over ──▶ close ──▶ done
//	Stop ─▶ inbox, eventfd ──▶ ────┘          small pieces: read, send           on a goroutine of its own
//	                    timers ────┘          large ones: splice, pipe, splice
//
// An event names a slot and the slot's generation, never a descriptor or an
// address. Both are looked up under the lock that changes them, which turns
// the event into a *Tunnel; the tunnel knows whether it has ended. Neither a
// descriptor's nor a slot's second life can thus be taken for the first.
package splice
