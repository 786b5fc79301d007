package h2

// Room returns how many streams Open would open at once, without waiting; 0 for
// a connection that takes none any more.
func (c *Conn) Room() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead || c.leaving || c.nextID > maxWindow {
		return 0
	}
	return max(0, min(min(c.cfg.MaxStreams, c.peer.MaxStreams)-len(c.streams), c.cfg.mostActive()-c.active))
}

// Known reports whether the peer's SETTINGS are here: until then Room tells
// nothing of what there will be.
func (c *Conn) Known() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peerKnown
}

// Usable reports whether the connection takes new streams, now or later.
func (c *Conn) Usable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.dead && !c.leaving && c.nextID <= maxWindow
}
