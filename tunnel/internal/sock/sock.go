// Package sock is what the packages above know of connections beyond net.Conn.
//
// On Linux, Listen and Connect make connections of type Conn, whose descriptors
// stay out of Go's poller until something has to wait for them. Around them are
// the tools for moving bytes between descriptors: pipes, splice(2), pooled
// buffers, and peeking. On other systems Listen and Connect return what package
// net makes, and RawOf finds no descriptor, so that callers copy instead.
//
// The interfaces below name what a connection may be able to do besides net.Conn:
// one package finds an ability that another package's connection has. They have
// names, and are asserted beside each type that implements them, because an
// assertion to an anonymous interface still compiles when the method is renamed,
// and then never holds again.
//
// Package sock imports nothing of this module but package vanish.
package sock

import (
	"io"
	"net"
	"net/netip"
)

// MaxPipes is the most pipes that a pool has open by default, of two descriptors each.
const MaxPipes = 256

// HalfCloser is a connection that can send end of file and still be read from.
type HalfCloser interface{ CloseWrite() error }

// Numbered is a connection that knows the number of its descriptor.
type Numbered interface {
	// Descriptor returns the descriptor's number, or -1 if the connection is
	// closed or its descriptor is in Go's poller.
	Descriptor() int
}

// Addressed is a connection that knows its peer's address without allocating a
// net.Addr.
type Addressed interface {
	RemoteAddrPort() netip.AddrPort
}

// Aborter is a connection over a stream of a protocol that has resets of its own,
// such as HTTP/2.
type Aborter interface {
	// Abort resets the stream after what was written, as RST_STREAM does
	// (RFC 9113, section 8.5). The connection still has to be closed.
	Abort()
}

// Stream is a connection over a stream of HTTP/2: it writes from its own buffers,
// and it reports a failure without being read from.
type Stream interface {
	io.WriterTo

	// Err returns the error that ended the stream, or nil.
	Err() error
}

// Patient is a connection that can be waited for without holding a buffer. Only
// one goroutine at a time may use it.
type Patient interface {
	// ReadNow reads the bytes that are available, as far as they fit, and does
	// not wait. ErrNothingYet, with bytes or without, means that AwaitMore has to
	// be called before the next ReadNow. After the first call, Read behaves like
	// ReadNow.
	ReadNow(b []byte) (int, error)

	// AwaitMore waits until ReadNow has something to return, be it end of file.
	AwaitMore() error
}

// ErrNothingYet is a temporary failure: like a deadline that has passed, it lets
// crypto/tls continue later where it stopped.
var ErrNothingYet net.Error = nothingYet{}

type nothingYet struct{}

func (nothingYet) Error() string   { return "nothing has come yet" }
func (nothingYet) Timeout() bool   { return true }
func (nothingYet) Temporary() bool { return true }

// OwnsDescriptor reports whether a connection has a descriptor of its own. One that leads
// through a stream of another connection has none.
func OwnsDescriptor(conn net.Conn) bool {
	for {
		if _, ok := conn.(Stream); ok {
			return false
		}
		over, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return true
		}
		conn = over.NetConn()
	}
}
