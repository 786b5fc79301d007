package proxy

import (
	"net"
	"net/netip"
	"sync"

	"culvert/tunnel"
	"culvert/tunnel/internal/sock"
)

// slots counts the tunnels that are open or being opened, in all and for each
// client address.
type slots struct {
	mu       sync.Mutex
	open     int
	byClient map[netip.Addr]int
}

// take takes a slot. It returns false if a limit is reached; 0 = no limit.
func (s *slots) take(from netip.Addr, limit, perClient int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if limit > 0 && s.open >= limit || perClient > 0 && s.byClient[from] >= perClient {
		return false
	}
	s.open++
	if perClient > 0 {
		if s.byClient == nil {
			s.byClient = make(map[netip.Addr]int)
		}
		s.byClient[from]++
	}
	return true
}

// release gives a slot back.
func (s *slots) release(from netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	if n := s.byClient[from]; n > 1 {
		s.byClient[from] = n - 1
	} else if n == 1 {
		delete(s.byClient, from)
	}
}

// isShortOfDescriptors reports whether a client on conn can be answered but not
// served. The kernel assigns the lowest free descriptor, so conn's own is about the
// number of those in use.
func (s *Server) isShortOfDescriptors(conn net.Conn) bool {
	numbered, ok := conn.(sock.Numbered)
	return ok && s.run.maxDescriptors > 0 && numbered.Descriptor() >= s.run.maxDescriptors
}

// takeSlot takes a slot for a tunnel. The caller releases it with s.run.slots.
func (s *Server) takeSlot(from netip.Addr, target tunnel.Authority) *tunnel.Error {
	if s.run.draining.Load() {
		return errorDraining(target)
	}
	if !s.run.slots.take(from, s.run.maxTunnels, max(0, s.MaxTunnelsPerClient)) {
		return &tunnel.Error{Phase: tunnel.PhasePolicy, Type: tunnel.ErrorConnectionLimit, Target: target, Rule: "max-tunnels"}
	}
	return nil
}

// errorDraining returns the refusal of a request that comes while the Server drains.
func errorDraining(target tunnel.Authority) *tunnel.Error {
	return &tunnel.Error{Phase: tunnel.PhasePolicy, Type: tunnel.ErrorInternalResponse, Target: target, Rule: "draining"}
}
