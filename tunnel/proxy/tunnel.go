package proxy

import (
	"cmp"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/quota"
	"culvert/tunnel/relay"
	"time"
)

// tunnel logs the opening, starts the relay, and, when that ends, gives back what the
// tunnel holds and logs the close. It returns at once. It does not get the
// connectRequest, which would keep the head in memory as long as the tunnel lives.
func (s *Server) tunnel(rec *accesslog.Record, holds *quota.Request, client, next relay.Side) {
	rec.Log(s.AccessLog, accesslog.EventOpen)
	held := holds.Relay()
	s.relay(client, next, func(result relay.Result) {
		rec.SetResult(result)
		held.End()
		rec.Log(s.AccessLog, accesslog.EventClose)
	})
}

// relay starts a relay between both sides and registers it for Shutdown. It
// calls done once, when the relay has ended.
func (s *Server) relay(client, target relay.Side, done func(relay.Result)) {
	limits := relay.Limits{Idle: max(0, s.IdleTimeout), Linger: max(0, cmp.Or(s.Linger, DefaultLinger))}
	s.run.mu.Lock()
	defer s.run.mu.Unlock() // ended waits until the entry that it removes is there
	if s.run.ctx.Err() != nil {
		// endAll has run: it may have closed the client's conn, which a relay
		// would take for a break.
		client.Conn.Close()
		target.Conn.Close()
		done(relay.Result{ClosedBy: relay.ClosedByDrain})
		return
	}
	s.run.active.Add(1)
	var r relay.Running
	ended := func(result relay.Result) {
		s.run.mu.Lock()
		delete(s.run.relays, r)
		s.run.mu.Unlock()
		done(result)
		s.run.active.Done()
	}
	r = s.run.loops.Relay(client, target, limits, ended)
	s.run.relays[r] = struct{}{}
}

// logRequest logs a request that never became a tunnel.
func (s *Server) logRequest(rec *accesslog.Record) {
	rec.Duration = time.Since(rec.Start)
	rec.Log(s.AccessLog, accesslog.EventRequest)
}
