// Package sock names what a connection may be able to do besides net.Conn:
// the interfaces by which one package finds an ability that another package's
// conn has. They are named, and asserted beside each type that has them, since
// an assertion to an anonymous interface compiles on when its method is renamed
// and is then never true again.
package sock

import (
	"io"
	"net"
	"net/netip"
)

// Numbered is a conn that knows the number of its descriptor.
type Numbered interface {
	// Descriptor returns the descriptor's number, or -1 if the conn is closed or
	// Go's poller has the descriptor.
	Descriptor() int
}

// Addressed is a conn that knows its peer's address without making a net.Addr.
type Addressed interface {
	RemoteAddrPort() netip.AddrPort
}

// Aborter is a conn over a stream of a protocol that has resets of its own, such
// as HTTP/2.
type Aborter interface {
	// Abort resets the stream behind what was written, as RST_STREAM does
	// (RFC 9113, section 8.5). The conn still has to be closed.
	Abort()
}

// Stream is a conn over a stream that gives its own buffers out, and that reports
// its failure to one who is not reading from it.
type Stream interface {
	io.WriterTo

	// Err returns what ended the stream, or nil.
	Err() error
}

// Patient is a conn that says when it has nothing, so that one can wait for it
// without holding a buffer. One goroutine at a time may use it.
type Patient interface {
	// ReadNow reads what is there, as far as it fits, and does not wait:
	// ErrNothingYet, with bytes or without, says that AwaitMore comes next. After
	// the first call every Read of the conn is such a one.
	ReadNow(b []byte) (int, error)
	// AwaitMore returns when there is something for ReadNow, end of file included.
	AwaitMore() error
}

// ErrNothingYet is a failure that passes: crypto/tls goes on after it where it
// was, as after a deadline.
var ErrNothingYet net.Error = nothingYet{}

type nothingYet struct{}

func (nothingYet) Error() string   { return "nothing has come yet" }
func (nothingYet) Timeout() bool   { return true }
func (nothingYet) Temporary() bool { return true }
