package h2

import (
	"errors"
	"io"
	"net"
	"time"

	"culvert/tunnel/internal/panics"
)

// leavePing marks the PING between the two steps of a shutdown.
var leavePing = [8]byte{'c', 'u', 'l', 'v', 'e', 'r', 't', 1}

// past is a deadline that has passed by any clock.
var past = time.Unix(1, 0)

// Shutdown accepts no new streams, and ends the connection when those that are open have
// ended. A server announces this in two steps, so that no request on its way is lost
// (RFC 9113, section 6.8). Shutdown does not wait.
func (c *Conn) Shutdown() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead || c.leaving {
		return
	}
	c.leaving = true
	c.changed.Broadcast()
	if c.client {
		c.writeGoAway(0, CodeNo, "")
		c.endIfLeft()
		return
	}
	if !c.peerKnown { // the client has not opened a stream yet
		c.leave()
		return
	}
	c.writeGoAway(maxWindow, CodeNo, "")
	c.writePing(false, leavePing)
	c.leaveDue = time.Now().Add(goAwayGrace)
	c.arm()
}

// leave is the second step of a shutdown: from now on new streams of the client are
// ignored. The caller holds c.mu.
func (c *Conn) leave() {
	if c.left || c.dead {
		return
	}
	c.left = true
	c.leaveDue = time.Time{}
	c.writeGoAway(c.lastPeer, CodeNo, "")
	c.endIfLeft()
}

// endIfLeft ends a connection that accepts no streams and has none. The caller holds c.mu.
func (c *Conn) endIfLeft() {
	if len(c.streams) == 0 && (c.left || c.client && c.leaving) {
		c.end(nil, nil)
	}
}

// Close ends the connection and breaks its streams. Bytes that are queued have a second to
// be sent. Close does not wait for this; Done and Wait do.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.abrupt = true
	if !c.dead {
		c.end(nil, violation(CodeNo, ""))
	} else {
		_ = c.conn.SetWriteDeadline(time.Now().Add(closeGrace))
	}
	_ = c.conn.SetReadDeadline(past)
	return nil
}

// Done returns a channel that is closed when the connection has ended. Handlers may still
// be running then.
func (c *Conn) Done() <-chan struct{} { return c.over }

// Wait waits until the connection has ended and its handlers have returned. Then it
// returns Err.
func (c *Conn) Wait() error {
	<-c.over
	c.handlers.Wait()
	return c.Err()
}

// Err returns the error that ended the connection, a *ConnError or a *PrefaceError. It is
// nil while the connection is open and after an orderly end.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// end ends the connection: it fails all streams with err, or with net.ErrClosed, queues a
// GOAWAY if goodbye is not nil, and gives the last bytes some time to be sent.
// The caller holds c.mu.
func (c *Conn) end(err error, goodbye *ConnError) {
	if c.dead {
		return
	}
	if goodbye != nil {
		c.writeGoAway(c.lastPeer, goodbye.Code, goodbye.Detail)
	}
	c.dead, c.err = true, err
	c.timer.Stop()
	streamErr := err
	if err == nil {
		streamErr = net.ErrClosed
	}
	for id, s := range c.streams {
		delete(c.streams, id)
		s.fail(streamErr)
	}
	c.ready = nil
	c.changed.Broadcast()
	grace := closeGrace
	if err == nil && !c.abrupt {
		grace = drainGrace
	}
	until := time.Now().Add(grace)
	if c.conn.SetWriteDeadline(until) != nil || c.conn.SetReadDeadline(until) != nil {
		_ = c.conn.Close() // nothing else would end its reads and writes
	}
	c.startWriting()
}

// closeOutput half-closes the connection after the last byte, so that the peer closes it: a
// close with unread bytes would be a reset, which can destroy bytes that were sent.
func (c *Conn) closeOutput() {
	half, ok := c.conn.(interface{ CloseWrite() error })
	c.mu.Lock()
	abrupt := c.abrupt || c.writeErr != nil
	c.mu.Unlock()
	ok = ok && !abrupt && half.CloseWrite() == nil
	c.mu.Lock()
	defer c.mu.Unlock()
	until := past
	if ok && !c.abrupt {
		until = time.Now().Add(closeGrace)
	}
	_ = c.conn.SetReadDeadline(until)
}

// finish is the last act of the reader. err is the error that has ended it.
func (c *Conn) finish(err error) {
	c.mu.Lock()
	if !c.dead {
		c.endBecause(err)
	}
	c.mu.Unlock()
	c.drain()
	c.mu.Lock()
	for !c.writeOver {
		c.changed.Wait()
	}
	c.mu.Unlock()
	defer close(c.over)
	defer panics.Recover("the end of an HTTP/2 connection", nil)
	c.closeConn()
	c.in.unread = nil
	c.in.release()
}

// drain reads until the peer closes, or until the deadline that die or closeOutput has
// set.
func (c *Conn) drain() {
	defer panics.Recover("the end of an HTTP/2 connection", nil)
	_, _ = io.Copy(io.Discard, &c.in)
}

// closeConn closes the connection. If that accepts no more bytes, the one beneath TLS is
// closed first, because TLS would wait to send close_notify.
func (c *Conn) closeConn() {
	if inner, ok := c.conn.(interface{ NetConn() net.Conn }); ok && c.writeErr != nil {
		_ = inner.NetConn().Close()
	}
	_ = c.conn.Close()
}

// endBecause ends the connection because of an error of the reader. The caller holds c.mu.
func (c *Conn) endBecause(err error) {
	var violation *ConnError
	var preface *PrefaceError
	switch {
	case errors.As(err, &violation) && !violation.Remote:
		c.end(err, violation)
	case errors.As(err, &violation), errors.As(err, &preface):
		c.end(err, nil)
	case c.writeErr != nil:
		c.end(&ConnError{Err: c.writeErr}, nil)
	case errors.Is(err, io.EOF) && len(c.streams) == 0 && (c.peerKnown || !c.client):
		c.abrupt = true
		c.end(nil, nil)
	default:
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		c.abrupt = true
		c.end(&ConnError{Err: err}, nil)
	}
}

// cannotWrite records that a write failed. The reader gets some time to find the reason,
// as a peer that gives up sends GOAWAY first. The caller holds c.mu.
func (c *Conn) cannotWrite(err error) {
	c.writeErr = err
	if !c.dead {
		_ = c.conn.SetReadDeadline(time.Now().Add(closeGrace))
	}
}

// arm sets the timer for what is due next. The caller holds c.mu.
func (c *Conn) arm() {
	if c.dead {
		return
	}
	if next := c.due(); next.IsZero() {
		c.timer.Stop()
	} else {
		c.timer.Reset(time.Until(next))
	}
}

// due returns the time of what is due next, zero if nothing is.
func (c *Conn) due() (next time.Time) {
	sooner := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	sooner(c.settingsDue)
	sooner(c.leaveDue)
	sooner(c.idleDue())
	sooner(c.pingDue())
	sooner(c.abandonedDue())
	return next
}

// idleDue returns when IdleTimeout ends, zero if it does not run.
func (c *Conn) idleDue() time.Time {
	if c.cfg.IdleTimeout <= 0 || c.idleSince.IsZero() {
		return time.Time{}
	}
	return c.idleSince.Add(c.cfg.IdleTimeout)
}

// pingDue returns when a PING is due, or when the answer to one is overdue.
func (c *Conn) pingDue() time.Time {
	switch {
	case c.cfg.PingAfter <= 0:
		return time.Time{}
	case !c.pinged.IsZero():
		return c.pinged.Add(c.cfg.PingTimeout)
	}
	return c.lastRead.Add(c.cfg.PingAfter)
}

// tick is called by the timer, and does what is due.
func (c *Conn) tick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.crash()
	if c.dead {
		return
	}
	now := time.Now()
	passed := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	c.resetAbandoned(now)
	switch {
	case passed(c.settingsDue):
		e := violation(CodeSettingsTimeout, "the peer's SETTINGS, or its acknowledgement of ours, did not come in time")
		c.end(e, e)
		return
	case passed(c.idleDue()):
		c.end(nil, violation(CodeNo, ""))
		return
	case passed(c.leaveDue):
		c.leave()
	case passed(c.pingDue()):
		if !c.pinged.IsZero() {
			c.abrupt = true
			c.end(&ConnError{Err: errSilent}, nil)
			return
		}
		c.pinged = now
		c.writePing(false, [8]byte{})
	}
	c.arm()
}
