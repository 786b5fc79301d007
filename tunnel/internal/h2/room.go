package h2

// Room returns how many streams Open would open now without waiting, 0 if the connection
// takes no more.
func (c *Conn) Room() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead || c.leaving || c.nextID > maxWindow {
		return 0
	}
	return max(0, min(min(c.cfg.MaxStreams, c.peer.MaxStreams)-len(c.streams), c.cfg.mostActive()-c.active))
}

// Known reports whether the SETTINGS of the peer have arrived. Before that, Room does not
// say how many streams there may be.
func (c *Conn) Known() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peerKnown
}

// Usable reports whether the connection takes new streams, be it now or later.
func (c *Conn) Usable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.dead && !c.leaving && c.nextID <= maxWindow
}
