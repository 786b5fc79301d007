package h2

import (
	"time"

	"golang.org/x/net/http2"
)

// Config holds the limits of a connection. Zero values are the defaults.
type Config struct {
	// MaxStreams is how many streams may be open at once: what a server
	// announces, what a client keeps to even if the server allows more. Streams
	// that are closed but whose owner has not let go may be as many again, and
	// 16 at least. 250 if 0.
	MaxStreams int

	// MaxHead is the size of a field list in bytes, counted as RFC 9113,
	// section 6.5.2 does. 64 KiB if 0.
	MaxHead int

	// StreamWindow is how many bytes a new stream may have under way to us, at
	// least 65,535. 64 KiB if 0.
	StreamWindow int

	// MaxStreamWindow is what that grows to on streams whose owner reads as
	// fast as the bytes come. 1 MiB if 0.
	MaxStreamWindow int

	// MaxBuffered is how many bytes all streams together may hold unread. It is
	// raised to what the first windows of MaxStreams come to. 32 MiB if 0.
	MaxBuffered int

	// WriteBuffer is how many bytes wait for the connection before Write waits:
	// 32 to 64 KiB. 64 KiB if 0.
	WriteBuffer int

	// SettingsTimeout is how long the peer may take for its preface, its
	// SETTINGS and the acknowledgement of ours, and for the rest of a field
	// block. 10 seconds if 0, no limit if negative.
	SettingsTimeout time.Duration

	// IdleTimeout ends a connection that has had no stream for as long, with a
	// GOAWAY. 2 minutes if 0, never if negative.
	IdleTimeout time.Duration

	// PingAfter is the silence after which the peer is sent a PING, PingTimeout
	// (15 seconds if 0) what it may take to say anything. Off if 0: TCP's
	// keepalive finds the dead, too.
	PingAfter, PingTimeout time.Duration

	// EnableConnectProtocol announces extended CONNECT (RFC 8441). Without it a
	// request with :protocol is malformed. It means nothing to a client.
	EnableConnectProtocol bool

	// Observe is told of every frame, in the order of the wire. It is called
	// with the connection's lock held: it must neither block nor call back.
	// Field blocks come decoded, at their HEADERS frame; CONTINUATION frames
	// are not told of. nil means that nobody watches.
	Observe func(Frame)

	// Rejected is told of each stream of the peer's that the handler never saw
	// or that broke the rules, under the same terms as Observe. nil: nobody.
	Rejected func(*StreamError)
}

// Frame is what Config.Observe is told.
type Frame struct {
	Sent       bool // by us
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

// The limits that are nobody's to configure.
const (
	leastWindow      = 65535     // a peer's idea of our windows until it has our SETTINGS
	maxWindow        = 1<<31 - 1 // RFC 9113, section 6.9.1
	dataFrame        = 16384     // payload of the DATA frames we send; every peer takes that
	maxWriteBuffer   = 64 << 10
	tableSize        = 4096    // HPACK, both ways
	maxContinuations = 32      // CONTINUATION frames of one field block
	maxEchoes        = 1000    // answers that the peer provoked and does not read
	maxQueued        = 1 << 20 // bytes that the peer does not read, beyond which there are no new streams
	maxInterim       = 16      // 1xx heads that nobody has read yet
	growWithin       = 500 * time.Millisecond
	closeGrace       = time.Second      // for the last bytes of a connection that is cut off
	drainGrace       = 10 * time.Second // for those of one that has come to its end
	goAwayGrace      = time.Second      // between the two steps of a shutdown
	assumedStreams   = 1                // until the server's SETTINGS are here: more might be refused
)

func orDefault[T int | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

func (cfg Config) withDefaults() Config {
	cfg.MaxStreams = max(1, orDefault(cfg.MaxStreams, 250))
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

// mostActive bounds the streams whose owners have not let go. It is more than
// the peer may have open: it learns that a stream is closed before its owner
// has come round to Close.
func (cfg *Config) mostActive() int { return cfg.MaxStreams + max(16, cfg.MaxStreams) }

// connWindow is the connection's receive window.
func (cfg *Config) connWindow() int { return min(cfg.MaxBuffered, maxWindow) }
