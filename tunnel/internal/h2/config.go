package h2

import (
	"time"

	"golang.org/x/net/http2"
)

// Config holds the limits of a connection. Zero values are the defaults.
type Config struct {
	// MaxStreams is how many streams may be open at once. A server announces it, a
	// client keeps to it even if the server allows more. There may be as many
	// again, and at least 16, that have ended but whose owners have not closed
	// them. 0 = 250.
	MaxStreams int

	// FirstStreams is how many streams a server allows at first, until AllowAll is
	// called: little enough for a peer that nobody knows. 0 = MaxStreams.
	FirstStreams int

	// MaxHead is the largest size of a field list in bytes, counted as in RFC 9113,
	// section 6.5.2. 0 = 64 KiB.
	MaxHead int

	// StreamWindow is the receive window of a new stream in bytes, at least 65,535.
	// 0 = 64 KiB.
	StreamWindow int

	// MaxStreamWindow is the size up to which the receive window of a stream grows
	// while its owner reads as fast as bytes arrive. 0 = 1 MiB.
	MaxStreamWindow int

	// MaxBuffered is how many unread bytes all streams together may hold. It is
	// raised to the sum of the first windows of all streams. 0 = 32 MiB.
	MaxBuffered int

	// WriteBuffer is how many bytes may be queued on the connection before Write
	// waits: 32 to 64 KiB. 0 = 64 KiB.
	WriteBuffer int

	// SettingsTimeout is how long the peer may take for its preface, its SETTINGS
	// and the acknowledgement of this side's, and for the rest of a field block.
	// 0 = 10 s, negative = no limit.
	SettingsTimeout time.Duration

	// IdleTimeout is how long a connection may be without a stream. Then it ends
	// with a GOAWAY. 0 = 2 min, negative = no limit.
	IdleTimeout time.Duration

	// PingAfter is the silence after which a PING is sent to the peer; 0 = never,
	// since the keepalive of TCP finds dead peers too. PingTimeout is how long the
	// peer may then stay silent; 0 = 15 s.
	PingAfter, PingTimeout time.Duration

	// EnableConnectProtocol makes a server announce extended CONNECT (RFC 8441).
	// Without it a request with :protocol is malformed. A client ignores it.
	EnableConnectProtocol bool

	// Observe is called for every frame, in the order of the wire, with the
	// connection's lock held: it must neither block nor call methods of the
	// connection. Field blocks are decoded and belong to their HEADERS frame;
	// there are no calls for CONTINUATION frames. nil = no calls.
	Observe func(Frame)

	// Rejected is called for each stream that is reset because the peer broke the
	// rules or a limit, also if the handler was never called for it. What holds
	// for Observe holds for it too. nil = no calls.
	Rejected func(*StreamError)
}

// Frame is a frame as Config.Observe gets it.
type Frame struct {
	Sent       bool // by this side
	Type       http2.FrameType
	Flags      http2.Flags
	Stream     uint32
	Length     int             // of the payload; of a sent field block, encoded
	Fields     []Field         // HEADERS, decoded
	Settings   []http2.Setting // SETTINGS
	Code       ErrCode         // RST_STREAM and GOAWAY
	LastStream uint32          // GOAWAY
	Debug      string          // GOAWAY
	Increment  uint32          // WINDOW_UPDATE
}

// The limits that cannot be configured.
const (
	leastWindow      = 65535     // the window until SETTINGS were exchanged
	maxWindow        = 1<<31 - 1 // RFC 9113, section 6.9.1
	dataFrame        = 16384     // the payload of a DATA frame that is sent; every peer accepts it
	maxWriteBuffer   = 64 << 10
	tableSize        = 4096                   // HPACK, both ways
	maxContinuations = 32                     // CONTINUATION frames of one field block
	maxEchoes        = 1000                   // answers that the peer has caused and does not read
	maxQueued        = 1 << 20                // bytes that the peer does not read, above which there are no new streams
	maxFields        = 1024                   // of a field list: each takes ten times its size on the wire in memory
	maxInterim       = 16                     // 1xx heads of a stream that are not read yet
	growWithin       = 500 * time.Millisecond // for half a window, if the window is to grow
	closeGrace       = time.Second            // for the last bytes of a connection that ends with an error or by Close
	drainGrace       = 10 * time.Second       // for the last bytes of a connection that ends in order
	goAwayGrace      = time.Second            // between the two steps of a shutdown
	assumedStreams   = 1                      // the server's limit until its SETTINGS arrive: it might refuse more
)

// orDefault returns def in place of zero.
func orDefault[T int | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

// withDefaults returns the limits with defaults in place of zeros, within their bounds.
func (cfg Config) withDefaults() Config {
	cfg.MaxStreams = max(1, orDefault(cfg.MaxStreams, 250))
	cfg.FirstStreams = min(max(1, orDefault(cfg.FirstStreams, cfg.MaxStreams)), cfg.MaxStreams)
	cfg.MaxHead = orDefault(cfg.MaxHead, 64<<10)
	cfg.StreamWindow = min(max(orDefault(cfg.StreamWindow, 64<<10), leastWindow), maxWindow)
	cfg.MaxStreamWindow = min(max(orDefault(cfg.MaxStreamWindow, 1<<20), cfg.StreamWindow), maxWindow)
	cfg.MaxBuffered = max(orDefault(cfg.MaxBuffered, 32<<20), cfg.mostActive()*cfg.StreamWindow)
	cfg.WriteBuffer = min(max(orDefault(cfg.WriteBuffer, maxWriteBuffer), 2*dataFrame), maxWriteBuffer)
	cfg.SettingsTimeout = orDefault(cfg.SettingsTimeout, 10*time.Second)
	cfg.IdleTimeout = orDefault(cfg.IdleTimeout, 2*time.Minute)
	cfg.PingTimeout = orDefault(cfg.PingTimeout, 15*time.Second)
	return cfg
}

// mostActive returns how many streams may have owners. It is more than the peer may have
// open, because the peer learns that a stream has ended before the owner calls Close.
func (cfg *Config) mostActive() int { return cfg.MaxStreams + max(16, cfg.MaxStreams) }

// connWindow returns the receive window of the connection.
func (cfg *Config) connWindow() int { return min(cfg.MaxBuffered, maxWindow) }
