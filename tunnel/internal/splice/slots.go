//go:build linux

package splice

import "golang.org/x/sys/unix"

// slots finds the tunnel that an event is for.
type slots struct {
	all  []slot
	free []uint32
}

// slot is a tunnel's place. Its generation counts the tunnels that it had.
type slot struct {
	tunnel     *Tunnel
	generation uint32
}

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

func (s *slots) release(t *Tunnel) {
	place := &s.all[t.slot]
	place.tunnel = nil
	place.generation++
	s.free = append(s.free, t.slot)
}

// event is what to register for t's socket of that side. The 64 bits that
// epoll gives back are the slot, the side, and the generation.
func (s *slots) event(t *Tunnel, side int, events uint32) unix.EpollEvent {
	return unix.EpollEvent{Events: events, Fd: int32(t.slot<<1 | uint32(side)), Pad: int32(s.all[t.slot].generation)}
}

// find returns the tunnel and the side that an event was registered for, or
// nil if that tunnel is no more.
func (s *slots) find(event *unix.EpollEvent) (t *Tunnel, side int) {
	place := uint32(event.Fd) >> 1
	if place >= uint32(len(s.all)) || s.all[place].generation != uint32(event.Pad) {
		return nil, 0
	}
	return s.all[place].tunnel, int(event.Fd & 1)
}
