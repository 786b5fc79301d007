//go:build linux

package splice

import "golang.org/x/sys/unix"

// slots is the table in which the tunnel of an event is found.
type slots struct {
	all  []slot
	free []uint32
}

// slot is the place of a tunnel. generation counts the tunnels that it has had.
type slot struct {
	tunnel     *Tunnel
	generation uint32
}

// take gives t a slot.
func (s *slots) take(t *Tunnel) {
	if last := len(s.free) - 1; last >= 0 {
		t.slot = s.free[last]
		s.free = s.free[:last]
	} else {
		t.slot = uint32(len(s.all))
		s.all = append(s.all, slot{})
	}
	s.all[t.slot].tunnel = t
}

// release frees the slot of t.
func (s *slots) release(t *Tunnel) {
	place := &s.all[t.slot]
	place.tunnel = nil
	place.generation++
	s.free = append(s.free, t.slot)
}

// event returns the event to register for a socket of t. The 64 bits that epoll returns
// with it are the slot, the side and the generation.
func (s *slots) event(t *Tunnel, side int, events uint32) unix.EpollEvent {
	return unix.EpollEvent{Events: events, Fd: int32(t.slot<<1 | uint32(side)), Pad: int32(s.all[t.slot].generation)}
}

// find returns the tunnel and the side that an event was registered for, or nil if that
// tunnel has ended.
func (s *slots) find(event *unix.EpollEvent) (t *Tunnel, side int) {
	place := uint32(event.Fd) >> 1
	if place >= uint32(len(s.all)) || s.all[place].generation != uint32(event.Pad) {
		return nil, 0
	}
	return s.all[place].tunnel, int(event.Fd & 1)
}
