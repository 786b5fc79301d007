package tunnel

import (
	"culvert/tunnel/internal/sock"
	"net"
	"net/netip"
	"sync"
)

// slots counts the tunnels that are open or being opened, in all and by client
// address, against their limits.
type slots struct {
	mu       sync.Mutex
	open     int
	byClient map[netip.Addr]int
}

// take takes a slot, or says with false that a limit is reached; 0 = no limit.
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

// isCrowded reports whether the descriptors run short, of which a client's
// connection is one: it can still be answered, but not served. The kernel gives
// out the lowest free number, so a high one tells how many are taken, whatever
// for.
func (s *Server) isCrowded(conn net.Conn) bool {
	numbered, ok := conn.(sock.Numbered)
	return ok && s.run.mostDescriptors > 0 && numbered.Descriptor() >= s.run.mostDescriptors
}

// admit takes a tunnel's slot; the caller releases it with s.run.slots.
func (s *Server) admit(from netip.Addr, target Authority) *Error {
	if s.run.draining.Load() {
		return errorDraining(target)
	}
	if !s.run.slots.take(from, s.run.maxTunnels, max(0, s.MaxTunnelsPerClient)) {
		return &Error{Phase: PhasePolicy, Type: ErrorConnectionLimit, Target: target, Rule: "max-tunnels"}
	}
	return nil
}

// errorDraining refuses what comes while the Server is about to stop.
func errorDraining(target Authority) *Error {
	return &Error{Phase: PhasePolicy, Type: ErrorInternalResponse, Target: target, Rule: "draining"}
}
