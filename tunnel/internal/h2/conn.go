package h2

import (
	"bytes"
	"context"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Conn is an HTTP/2 connection. Its methods may be called from anywhere but
// Config.Observe and Config.Rejected.
type Conn struct {
	cfg      Config
	conn     net.Conn
	client   bool
	handle   func(*Stream, Head)
	in       input
	framer   *http2.Framer // reads from in; writes into out, under mu
	dec      *hpack.Decoder
	over     chan struct{} // closed when all has ended
	handlers sync.WaitGroup

	mu      sync.Mutex
	changed sync.Cond // slots, SETTINGS and endings, for those who wait for them

	streams  map[uint32]*Stream // those open or half-closed in the protocol's sense
	active   int                // streams whose owner, or handler, has not let go
	nextID   uint32             // of the client's next stream
	lastPeer uint32             // the highest stream of the peer's that was looked at
	ended    []uint32           // streams that ended last: number and whether by our reset
	endedAt  int                // where in it the next one goes

	peer       Settings
	peerKnown  bool // its SETTINGS are here
	acked      bool // ours are acknowledged
	unreturned int  // received, not yet given back as credit
	surplus    int  // of MaxBuffered, for windows to grow by
	sendWindow int  // what we may still send

	enc        *hpack.Encoder
	block      bytes.Buffer // enc's output
	out, spare []byte       // bytes for the connection; the buffer that out is swapped with
	flushing   bool         // a goroutine writes
	abandoned  []*Stream    // closed, and left to end by themselves; the oldest first
	ready      *Stream      // last of the ring of streams with bytes that may go
	echoes     int

	frameBudget, streamBudget budget

	timer       *time.Timer
	settingsDue time.Time // zero when they are here
	idleSince   time.Time // zero while there are streams
	leaveDue    time.Time // of a shutdown's second step
	lastRead    time.Time // kept if PingAfter is set
	pinged      time.Time // zero if nothing is due

	leaving   bool // no new streams: Shutdown, or GOAWAY from the peer
	left      bool // the shutdown's second step is done
	dead      bool // nothing is queued any more
	abrupt    bool // close without waiting for the peer
	err       error
	writeErr  error
	writeOver bool // what was queued before is written, or cannot be
}

// Server speaks HTTP/2 as the server on conn, which is the Conn's from here on,
// and returns at once. It awaits the client's preface and calls handle for each
// request, on a goroutine of its own. The stream is then the handler's, also
// beyond its return: whoever has it last closes it.
func Server(conn net.Conn, cfg Config, handle func(*Stream, Head)) *Conn {
	c := newConn(conn, cfg)
	c.handle = handle
	c.start()
	return c
}

// Client speaks HTTP/2 as the client on conn, which is the Conn's from here on.
// It waits for nothing: what goes wrong with the connection is told by its
// streams, and by Err.
func Client(conn net.Conn, cfg Config) *Conn {
	cfg.EnableConnectProtocol = true // what there is to send was the caller's choice
	c := newConn(conn, cfg)
	c.client = true
	c.nextID = 1
	c.mu.Lock()
	c.queue([]byte(Preface))
	c.sendSettings()
	c.mu.Unlock()
	c.start()
	return c
}

func newConn(conn net.Conn, cfg Config) *Conn {
	c := &Conn{cfg: cfg.withDefaults(), conn: conn, over: make(chan struct{}), streams: map[uint32]*Stream{}}
	c.changed.L = &c.mu
	c.in.from = conn
	c.framer = http2.NewFramer((*outWriter)(c), &c.in)
	c.framer.SetMaxReadFrameSize(dataFrame)
	c.framer.SetReuseFrames()
	c.dec = hpack.NewDecoder(tableSize, nil)
	c.dec.SetMaxStringLength(c.cfg.MaxHead)
	c.enc = hpack.NewEncoder(&c.block)
	c.enc.SetMaxDynamicTableSizeLimit(tableSize)
	c.peer = Settings{InitialWindow: leastWindow, MaxStreams: assumedStreams}
	c.sendWindow = leastWindow
	c.surplus = c.cfg.MaxBuffered - c.cfg.mostActive()*c.cfg.StreamWindow
	c.frameBudget = newBudget(2000, 200)
	c.streamBudget = newBudget(100+2*c.cfg.MaxStreams, 100)
	return c
}

func (c *Conn) start() {
	now := time.Now()
	c.mu.Lock()
	c.idleSince, c.lastRead = now, now
	if c.cfg.SettingsTimeout > 0 {
		c.settingsDue = now.Add(c.cfg.SettingsTimeout)
	}
	c.timer = time.AfterFunc(time.Hour, c.tick)
	c.arm()
	c.kick()
	c.mu.Unlock()
	go c.readLoop()
}

// Open sends a request and returns its stream, which is the caller's to close.
// The first goes out at once, further ones when the server has said how many it
// allows. It waits while the server, or MaxStreams, allows no more, and while the
// server does not read those there are. ctx covers that wait only. ErrGoingAway means
// that the connection is of no more use.
func (c *Conn) Open(ctx context.Context, fields []Field, endStream bool) (*Stream, error) {
	if err := checkRequest(fields, true); err != nil {
		return nil, err
	}
	stop := c.wakeOn(ctx)
	defer stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.dead && c.err != nil:
			return nil, c.err
		case c.dead || c.leaving || c.nextID > maxWindow:
			return nil, ErrGoingAway
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		}
		slot := len(c.streams) < min(c.cfg.MaxStreams, c.peer.MaxStreams) && c.active < c.cfg.mostActive()
		if slot && len(c.out) <= maxQueued {
			break
		}
		c.changed.Wait()
	}
	if err := c.fits(fields); err != nil {
		return nil, err
	}
	s := c.newStream(c.nextID)
	c.nextID += 2
	s.users = 1
	s.headSent = true
	s.connect = get(fields, ":method") == "CONNECT"
	s.noContent = get(fields, ":method") == "HEAD"
	c.writeHead(s.id, fields, endStream)
	if endStream {
		s.sendEnd()
	}
	return s, nil
}

// newStream makes a stream and puts it in the books. c.mu is held.
func (c *Conn) newStream(id uint32) *Stream {
	s := &Stream{conn: c, id: id, sendWindow: c.peer.InitialWindow,
		recvWindow: c.cfg.StreamWindow, grant: c.cfg.StreamWindow, returned: time.Now(), length: -1}
	s.readable.L, s.writable.L = &c.mu, &c.mu
	c.streams[id] = s
	c.active++
	c.idleSince = time.Time{}
	return s
}

// forget takes a stream off the books: for the protocol it has ended. c.mu is
// held.
func (c *Conn) forget(s *Stream, reset bool) {
	if c.streams[s.id] != s {
		return
	}
	delete(c.streams, s.id)
	mark := s.id << 1
	if reset {
		mark |= 1
	}
	// All that may be open may be reset at once, with frames under way on each.
	if len(c.ended) < c.cfg.mostActive() {
		c.ended = append(c.ended, mark)
	} else {
		c.ended[c.endedAt] = mark
		c.endedAt = (c.endedAt + 1) % len(c.ended)
	}
	if len(c.streams) == 0 && !c.dead {
		c.idleSince = time.Now()
		c.arm()
		c.endIfLeft()
	}
	c.changed.Broadcast()
}

// hasEnded reports whether stream id ended a short while ago, and whether that
// was by our reset, so that frames may still be under way. c.mu is held.
func (c *Conn) hasEnded(id uint32) (ended, reset bool) {
	for _, mark := range c.ended {
		if mark>>1 == id {
			return true, mark&1 != 0
		}
	}
	return false, false
}

// isIdle reports whether stream id has never been opened (RFC 9113, section
// 5.1). c.mu is held.
func (c *Conn) isIdle(id uint32) bool {
	if c.client {
		return id%2 == 0 || id >= c.nextID
	}
	return id%2 == 0 || id > c.lastPeer
}

// crossed reports whether stream id is one that the client opened before it
// had seen our GOAWAY: nothing on it means anything to us (RFC 9113, section
// 6.8). c.mu is held.
func (c *Conn) crossed(id uint32) bool {
	return !c.client && c.left && id%2 == 1 && id > c.lastPeer
}

// release notes that one of those who have a stream let go. c.mu is held.
func (c *Conn) release(s *Stream) {
	if s.users--; s.users > 0 {
		return
	}
	s.recv.drop()
	c.active--
	c.surplus += s.grant - c.cfg.StreamWindow
	c.changed.Broadcast()
}

// wakeOn has ctx's end wake those who wait for the connection. The caller calls
// stop.
func (c *Conn) wakeOn(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.changed.Broadcast()
	})
}

// PeerSettings waits for the peer's SETTINGS and returns them.
func (c *Conn) PeerSettings(ctx context.Context) (Settings, error) {
	stop := c.wakeOn(ctx)
	defer stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.peerKnown && !c.dead && ctx.Err() == nil {
		c.changed.Wait()
	}
	switch {
	case c.peerKnown:
		return c.peer, nil
	case c.dead && c.err != nil:
		return Settings{}, c.err
	case c.dead:
		return Settings{}, ErrGoingAway
	}
	return Settings{}, context.Cause(ctx)
}

// NetConn returns the connection beneath, to look at and not to touch.
func (c *Conn) NetConn() net.Conn { return c.conn }
