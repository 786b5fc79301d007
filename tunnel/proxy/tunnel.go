package proxy

import (
	"cmp"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/relay"
	"net/netip"
	"time"
)

// tunnel logs the opening, starts the relay, and logs the close. The slot that
// from holds is released then. It is not given the Request, which would hold on
// to the head for as long as the tunnel lives.
func (s *Server) tunnel(rec *accesslog.Record, from netip.Addr, client, next relay.Side) {
	rec.Log(s.AccessLog, accesslog.EventOpen)
	s.relay(client, next, func(result relay.Result) {
		rec.SetResult(result)
		s.run.slots.release(from)
		rec.Log(s.AccessLog, accesslog.EventClose)
	})
}

// relay starts a relay that drain knows of; done runs once, as its last act.
func (s *Server) relay(client, target relay.Side, done func(relay.Result)) {
	limits := relay.Limits{Idle: max(0, s.IdleTimeout), Linger: max(0, cmp.Or(s.Linger, DefaultLinger))}
	s.run.mu.Lock()
	defer s.run.mu.Unlock() // done waits for the entry that it removes
	if s.run.ctx.Err() != nil {
		// cut was here: it may have closed the client's conn, which to a relay
		// would look like a break.
		client.Conn.Close()
		target.Conn.Close()
		done(relay.Result{ClosedBy: relay.ClosedByDrain})
		return
	}
	s.run.active.Add(1)
	var r relay.Running
	over := func(result relay.Result) {
		s.run.mu.Lock()
		delete(s.run.relays, r)
		s.run.mu.Unlock()
		done(result)
		s.run.active.Done()
	}
	var onLoop bool
	if r, onLoop = s.run.loops.Start(client, target, limits, over); !onLoop {
		r = relay.Start(client, target, limits, over)
	}
	s.run.relays[r] = struct{}{}
}

// logRequest logs a request that never became a tunnel.
func (s *Server) logRequest(rec *accesslog.Record) {
	rec.Duration = time.Since(rec.Start)
	rec.Log(s.AccessLog, accesslog.EventRequest)
}
