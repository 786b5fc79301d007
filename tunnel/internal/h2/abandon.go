package h2

import "time"

// A client that has sent END_STREAM and closes a tunnel need not reset it: the server's
// END_STREAM is usually on its way, and servers count resets (nghttp2 ends a connection
// after a thousand). So the stream is given some time to end by itself, as a TCP
// connection is after a close.

// abandonGrace is the time that an abandoned stream has to end by itself.
const abandonGrace = time.Second

// abandon takes the stream from its owner and leaves it open. The caller holds c.mu.
func (s *Stream) abandon() {
	s.abandonedUntil = time.Now().Add(abandonGrace)
	s.conn.abandoned = append(s.conn.abandoned, s)
	s.conn.arm()
	s.disown()
}

// resetUnwanted resets an abandoned stream that has received more content.
// The caller holds c.mu.
func (s *Stream) resetUnwanted() {
	s.conn.writeReset(s.id, CodeCancel)
	s.conn.forget(s, true)
}

// abandonedDue returns when the oldest abandoned stream has to be reset, zero if there is
// none. The caller holds c.mu.
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

// resetAbandoned resets the abandoned streams that have not ended in time.
// The caller holds c.mu.
func (c *Conn) resetAbandoned(now time.Time) {
	for due := c.abandonedDue(); !due.IsZero() && !now.Before(due); due = c.abandonedDue() {
		c.abandoned[0].resetUnwanted()
	}
}
