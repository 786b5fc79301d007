package forward

import (
	"culvert/tunnel/client"
	"net"
	"sync"
)

// upstreamConn is a connection to an origin or a parent, and the exchange whose request
// it carries.
type upstreamConn struct {
	net.Conn
	addr    string        // of the peer
	drained chan struct{} // closed when nothing more can be read; nil = Write does not wait for it
	mu      sync.Mutex
	x       *exchange // under way; nil = idle
	closed  bool
	ended   bool         // drained is closed
	options replyOptions // of the reply under way
}

// socket returns the conn beneath a tunnel through a parent, or the conn itself.
func (c *upstreamConn) socket() net.Conn {
	if through, ok := c.Conn.(*client.Conn); ok {
		return through.NetConn()
	}
	return c.Conn
}

// carry sets the exchange whose request goes over the connection.
func (c *upstreamConn) carry(x *exchange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.x, c.options = x, replyOptions{}
	if c.closed {
		x.body.interrupt(errUpstreamGone)
	}
}

// drop undoes carry, unless the connection carries the next request already.
func (c *upstreamConn) drop(x *exchange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.x == x {
		c.x = nil
	}
}

// carried returns the exchange under way, or nil.
func (c *upstreamConn) carried() *exchange {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.x
}

// Read may wait, so it first flushes to the client what there is of its reply.
func (c *upstreamConn) Read(b []byte) (int, error) {
	if x := c.carried(); x != nil {
		x.pending.flush()
	}
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.x != nil {
		c.options.scan(b[:n])
	}
	if err != nil {
		c.noteEnd()
	}
	return n, err
}

// replyOptions returns the Connection fields of the reply that was read last.
func (c *upstreamConn) replyOptions() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.options.values
}

// Write fails only when nothing more can be read. An origin that stops reading a request
// may have replied to it (RFC 9112, section 9.5), but the transport ends an exchange
// whose write failed.
func (c *upstreamConn) Write(b []byte) (int, error) {
	if x := c.carried(); x != nil {
		x.phase.sending.Store(true)
		defer x.phase.sending.Store(false)
	}
	n, err := c.Conn.Write(b)
	if err != nil && c.drained != nil {
		<-c.drained
	}
	return n, err
}

// noteEnd notes that nothing more can be read. c.mu is held.
func (c *upstreamConn) noteEnd() {
	if !c.ended && c.drained != nil {
		close(c.drained)
	}
	c.ended = true
}

// Close also ends the reading of the request's content. Otherwise the transport would
// return a failure only after the client, which may send nothing, was read.
func (c *upstreamConn) Close() error {
	c.mu.Lock()
	c.closed = true
	c.noteEnd()
	if c.x != nil {
		c.x.body.interrupt(errUpstreamGone)
	}
	c.mu.Unlock()
	return c.Conn.Close()
}
