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

// Conn is an HTTP/2 connection. Any goroutine may call its methods, but not from within
// Config.Observe or Config.Rejected.
type Conn struct {
	cfg      Config
	conn     net.Conn
	client   bool
	handle   func(*Stream, Head)
	in       input
	framer   *http2.Framer // reads from in; writes into out, under mu
	dec      *hpack.Decoder
	over     chan struct{} // closed when the connection has ended
	handlers sync.WaitGroup

	mu      sync.Mutex
	changed sync.Cond // signalled when streams, SETTINGS or the end of the connection change

	streams  map[uint32]*Stream // the streams that are open or half-closed (RFC 9113, section 5.1)
	allowed  int                // streams that the peer of a server may have open
	active   int                // streams that have an owner, or a handler that has not returned
	nextID   uint32             // the number of the client's next stream
	lastPeer uint32             // the highest number of a stream of the peer's that was processed
	ended    []uint32           // the streams that ended last: number, and a bit for a reset by this side
	endedAt  int                // the index in ended of the next one

	peer       Settings
	peerKnown  bool // the SETTINGS of the peer have arrived
	acked      bool // the peer has acknowledged the SETTINGS of this side
	unreturned int  // bytes received and not yet returned as credit
	surplus    int  // the part of MaxBuffered by which windows may still grow
	sendWindow int  // bytes that may still be sent

	enc        *hpack.Encoder
	block      bytes.Buffer // the output of enc
	out, spare []byte       // bytes for the connection; the buffer that out is swapped with
	flushing   bool         // a goroutine runs flush
	abandoned  []*Stream    // closed streams that may end by themselves; the oldest first
	ready      *Stream      // the last in the ring of streams that may send
	echoes     int          // answers that the peer has caused since the last write

	frameBudget, streamBudget budget

	timer       *time.Timer
	settingsDue time.Time // the end of SettingsTimeout; zero once SETTINGS are exchanged
	idleSince   time.Time // zero while there are streams
	leaveDue    time.Time // when the second step of a shutdown is due
	lastRead    time.Time // when a frame was read last; kept if PingAfter is set
	pinged      time.Time // when the PING that is unanswered was sent; zero = there is none

	leaving   bool // there are no new streams, after Shutdown or a GOAWAY of the peer
	left      bool // the second step of a shutdown is done
	dead      bool // the connection ends: nothing more is queued
	abrupt    bool // the connection is closed without waiting for the peer
	err       error
	writeErr  error
	writeOver bool // everything that was queued is written, or cannot be
}

// Server speaks HTTP/2 as the server on conn, and returns at once. The Conn owns conn. It
// waits for the client's preface, and calls handle for each request on a goroutine of its
// own. The handler owns the stream, which may outlive its return and has to be closed.
func Server(conn net.Conn, cfg Config, handle func(*Stream, Head)) *Conn {
	c := newConn(conn, cfg)
	c.handle = handle
	c.start()
	return c
}

// Client speaks HTTP/2 as the client on conn. The Conn owns conn. Client waits for
// nothing: an error of the connection is returned by its streams, and by Err.
func Client(conn net.Conn, cfg Config) *Conn {
	cfg.EnableConnectProtocol = true // the caller knows what it sends
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
	c.allowed = c.cfg.FirstStreams
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
	c.startWriting()
	c.mu.Unlock()
	go c.readLoop()
}

// Open sends a request and returns its stream, which the caller closes. It sends the first
// request at once, and further ones when the server has announced how many it allows. It
// waits while the server or MaxStreams allows no more streams, and while the server does
// not read. ctx covers this wait only. ErrGoingAway means that the connection takes no
// more streams.
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

// newStream adds a stream. The caller holds c.mu.
func (c *Conn) newStream(id uint32) *Stream {
	s := &Stream{conn: c, id: id, sendWindow: c.peer.InitialWindow,
		recvWindow: c.cfg.StreamWindow, grant: c.cfg.StreamWindow, returned: time.Now(), length: -1}
	s.readable.L, s.writable.L = &c.mu, &c.mu
	c.streams[id] = s
	c.active++
	c.idleSince = time.Time{}
	return s
}

// forget removes a stream that has ended in terms of the protocol. reset says that this
// side has reset it. The caller holds c.mu.
func (c *Conn) forget(s *Stream, reset bool) {
	if c.streams[s.id] != s {
		return
	}
	delete(c.streams, s.id)
	mark := s.id << 1
	if reset {
		mark |= 1
	}
	// All streams may be reset at once, with frames on their way for each.
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

// hasEnded reports whether stream id ended a short time ago, and whether this side has
// reset it, so that frames for it may still be on their way. The caller holds c.mu.
func (c *Conn) hasEnded(id uint32) (ended, reset bool) {
	for _, mark := range c.ended {
		if mark>>1 == id {
			return true, mark&1 != 0
		}
	}
	return false, false
}

// isIdle reports whether stream id was never opened (RFC 9113, section 5.1).
// The caller holds c.mu.
func (c *Conn) isIdle(id uint32) bool {
	if c.client {
		return id%2 == 0 || id >= c.nextID
	}
	return id%2 == 0 || id > c.lastPeer
}

// openedBeforeGoAway reports whether the client opened stream id before it had received the GOAWAY
// of this side. Its frames are ignored (RFC 9113, section 6.8). The caller holds c.mu.
func (c *Conn) openedBeforeGoAway(id uint32) bool {
	return !c.client && c.left && id%2 == 1 && id > c.lastPeer
}

// release removes one user of a stream, its owner or its handler. The caller holds c.mu.
func (c *Conn) release(s *Stream) {
	if s.users--; s.users > 0 {
		return
	}
	s.recv.drop()
	c.active--
	c.surplus += s.grant - c.cfg.StreamWindow
	c.changed.Broadcast()
}

// wakeOn makes the end of ctx wake the goroutines that wait for c.changed. The caller calls
// stop.
func (c *Conn) wakeOn(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.changed.Broadcast()
	})
}

// PeerSettings waits for the SETTINGS of the peer and returns them. Its error is that of
// the connection, ErrGoingAway or the cause of ctx.
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

// NetConn returns the connection beneath, which still belongs to the Conn: it may be
// inspected, but not used.
func (c *Conn) NetConn() net.Conn { return c.conn }
