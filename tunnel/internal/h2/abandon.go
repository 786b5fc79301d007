package h2

import "time"

// A client that has sent its last and wants no more of a tunnel need not reset
// it: the server's last is mostly on its way, and servers count resets (nghttp2
// gives a connection up for a thousand). So the stream is left to end by itself
// for a while, as a TCP connection is that was closed.

// abandonGrace is how long that may take.
const abandonGrace = time.Second

// abandon takes the stream from its owner and leaves it open. c.mu is held.
func (s *Stream) abandon() {
	s.abandonedUntil = time.Now().Add(abandonGrace)
	s.conn.abandoned = append(s.conn.abandoned, s)
	s.conn.arm()
	s.disown()
}

// unwanted resets an abandoned stream for which more came. c.mu is held.
func (s *Stream) resetUnwanted() {
	s.conn.writeReset(s.id, CodeCancel)
	s.conn.forget(s, true)
}

// abandonedDue is when the oldest abandoned stream is to be reset. c.mu is held.
func (c *Conn) abandonedDue() time.Time {
	for len(c.abandoned) > 0 && c.streams[c.abandoned[0].id] != c.abandoned[0] {
		c.abandoned[0] = nil
		c.abandoned = c.abandoned[1:]
	}
	if len(c.abandoned) == 0 {
		c.abandoned = nil
		return time.Time{}
	}
	return c.abandoned[0].abandonedUntil
}

// resetAbandoned resets those that have not ended in time. c.mu is held.
func (c *Conn) resetAbandoned(now time.Time) {
	for due := c.abandonedDue(); !due.IsZero() && !now.Before(due); due = c.abandonedDue() {
		c.abandoned[0].resetUnwanted()
	}
}
