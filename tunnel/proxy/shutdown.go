package proxy

import (
	"context"

	"culvert/tunnel/relay"
)

// Shutdown stops accepting, closes the client connections that wait for a
// request, refuses new tunnels, and waits for the open ones until ctx ends; then
// it closes those too, and their records say closed_by drain. It returns nil if all
// ended by themselves, else ctx's error. When it returns, the records of all
// tunnels are written.
func (s *Server) Shutdown(ctx context.Context) error {
	s.init()
	s.stopAccepting()
	idle := make(chan struct{})
	go func() {
		s.run.active.Wait()
		s.run.loops.Close()
		s.closeIdle()
		s.run.workers.close()
		close(idle)
	}()
	select {
	case <-idle:
		s.run.cancel()
		return nil
	case <-ctx.Done():
	}
	s.endAll()
	<-idle
	return ctx.Err()
}

// Close ends all tunnels and requests at once, and returns when they have ended. The
// error is always nil.
func (s *Server) Close() error {
	s.init()
	s.stopAccepting()
	s.endAll()
	s.run.active.Wait()
	s.run.loops.Close()
	s.closeIdle()
	s.run.workers.close()
	return nil
}

// Open returns the number of tunnels that are open or being opened.
func (s *Server) Open() int {
	s.init()
	return s.run.table.Tunnels()
}

func (s *Server) stopAccepting() {
	s.run.mu.Lock()
	defer s.run.mu.Unlock()
	s.run.draining.Store(true)
	for ln := range s.run.listeners {
		ln.Close()
	}
	for c := range s.run.conns {
		c.shutdown()
	}
}

// endAll ends tunnels that are being opened by their context, open ones by their
// relay, and requests by their conn, in this order: a conn that was just given to a
// relay is in both maps, and if it were closed first, the relay would report a
// break.
func (s *Server) endAll() {
	s.run.cancel()
	s.run.mu.Lock()
	defer s.run.mu.Unlock()
	for r := range s.run.relays {
		r.End(relay.ClosedByDrain)
	}
	for c := range s.run.conns {
		c.socket.Close() // TLS might wait to write its close_notify
	}
}

// closeIdle closes the connections that are kept for further tunnels and requests.
// Serve does that for its own listener.
func (s *Server) closeIdle() {
	s.run.parents.closeIdle()
	s.run.mu.Lock()
	defer s.run.mu.Unlock()
	for _, ln := range s.run.handlers {
		ln.forward.CloseIdleConnections()
	}
}
