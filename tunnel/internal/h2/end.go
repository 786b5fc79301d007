package h2

import (
	"errors"
	"io"
	"net"
	"time"
)

// leavePing marks the PING between the two steps of a shutdown.
var leavePing = [8]byte{'c', 'u', 'l', 'v', 'e', 'r', 't', 1}

// past is a deadline that has passed for every clock.
var past = time.Unix(1, 0)

// Shutdown lets the streams that are open come to their end and takes no new
// ones: then the connection ends. A server says so in two steps, so that no
// request on its way is lost (RFC 9113, section 6.8). It does not wait.
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
	if !c.peerKnown { // there is nobody yet to be told in two steps
		c.leave()
		return
	}
	c.writeGoAway(maxWindow, CodeNo, "")
	c.writePing(false, leavePing)
	c.leaveDue = time.Now().Add(goAwayGrace)
	c.arm()
}

// leave is the second step: from here on the client's new streams are ignored.
func (c *Conn) leave() {
	if c.left || c.dead {
		return
	}
	c.left = true
	c.leaveDue = time.Time{}
	c.writeGoAway(c.lastPeer, CodeNo, "")
	c.endIfLeft()
}

// endIfLeft ends a connection that takes no streams and has none. c.mu is held.
func (c *Conn) endIfLeft() {
	if len(c.streams) == 0 && (c.left || c.client && c.leaving) {
		c.die(nil, nil)
	}
}

// Close ends the connection and breaks its streams. What was queued has a
// second to go out; Close does not wait for that, Done and Wait do.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.abrupt = true
	if !c.dead {
		c.die(nil, violation(CodeNo, ""))
	} else {
		_ = c.conn.SetWriteDeadline(time.Now().Add(closeGrace))
	}
	_ = c.conn.SetReadDeadline(past)
	return nil
}

// Done returns a channel that is closed when the connection has ended: nothing
// of it is left but handlers.
func (c *Conn) Done() <-chan struct{} { return c.over }

// Wait waits for the connection's end and the return of its handlers, and
// returns what Err does.
func (c *Conn) Wait() error {
	<-c.over
	c.handlers.Wait()
	return c.Err()
}

// Err returns why the connection ended: a *ConnError or a *PrefaceError, nil
// while it lives and after an end in good order.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// die fails all streams with err, or as closed, says goodbye if there is
// something to say, and gives the last bytes a while. c.mu is held.
func (c *Conn) die(err error, goodbye *ConnError) {
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
		_ = c.conn.Close() // nothing else would make it return
	}
	c.kick()
}

// closeOutput half-closes the connection once the last byte is written, for the
// peer to close it: a close over bytes that it sends would destroy ours.
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

// finish is the reader's last duty. err is why it reads no more.
func (c *Conn) finish(err error) {
	c.mu.Lock()
	if !c.dead {
		c.dieBecause(err)
	}
	c.mu.Unlock()
	// Until the peer closes, or there is no point in waiting.
	_, _ = io.Copy(io.Discard, &c.in)
	c.mu.Lock()
	for !c.writeOver {
		c.changed.Wait()
	}
	c.mu.Unlock()
	c.closeConn()
	c.in.unread = nil
	c.in.release()
	close(c.over)
}

// closeConn closes the connection. One that takes no more bytes is closed beneath
// TLS first, which would wait to say goodbye.
func (c *Conn) closeConn() {
	if inner, ok := c.conn.(interface{ NetConn() net.Conn }); ok && c.writeErr != nil {
		_ = inner.NetConn().Close()
	}
	_ = c.conn.Close()
}

// dieBecause ends the connection for what the reader came upon.
func (c *Conn) dieBecause(err error) {
	var violation *ConnError
	var preface *PrefaceError
	switch {
	case errors.As(err, &violation) && !violation.Remote:
		c.die(err, violation)
	case errors.As(err, &violation), errors.As(err, &preface):
		c.die(err, nil)
	case c.writeErr != nil:
		c.die(&ConnError{Err: c.writeErr}, nil)
	case errors.Is(err, io.EOF) && len(c.streams) == 0 && (c.peerKnown || !c.client):
		c.abrupt = true
		c.die(nil, nil)
	default:
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		c.abrupt = true
		c.die(&ConnError{Err: err}, nil)
	}
}

// cannotWrite notes that writing failed. The reader may find out why: a peer
// that gives up says so first.
func (c *Conn) cannotWrite(err error) {
	c.writeErr = err
	if !c.dead {
		_ = c.conn.SetReadDeadline(time.Now().Add(closeGrace))
	}
}

// arm sets the timer for what is due next. c.mu is held.
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

// due returns when there will be something to do, zero if never.
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

func (c *Conn) idleDue() time.Time {
	if c.cfg.IdleTimeout <= 0 || c.idleSince.IsZero() {
		return time.Time{}
	}
	return c.idleSince.Add(c.cfg.IdleTimeout)
}

// pingDue is when silence is to be ended by a PING, or has lasted too long.
func (c *Conn) pingDue() time.Time {
	switch {
	case c.cfg.PingAfter <= 0:
		return time.Time{}
	case !c.pinged.IsZero():
		return c.pinged.Add(c.cfg.PingTimeout)
	}
	return c.lastRead.Add(c.cfg.PingAfter)
}

// tick does what is due.
func (c *Conn) tick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return
	}
	now := time.Now()
	passed := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	c.resetAbandoned(now)
	switch {
	case passed(c.settingsDue):
		e := violation(CodeSettingsTimeout, "the peer's SETTINGS, or its acknowledgement of ours, did not come in time")
		c.die(e, e)
		return
	case passed(c.idleDue()):
		c.die(nil, violation(CodeNo, ""))
		return
	case passed(c.leaveDue):
		c.leave()
	case passed(c.pingDue()):
		if !c.pinged.IsZero() {
			c.abrupt = true
			c.die(&ConnError{Err: errSilent}, nil)
			return
		}
		c.pinged = now
		c.writePing(false, [8]byte{})
	}
	c.arm()
}
