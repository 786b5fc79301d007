// Package sock names what a connection may be able to do besides net.Conn:
// the interfaces by which one package finds an ability that another package's
// conn has. They are named, and asserted beside each type that has them, since
// an assertion to an anonymous interface compiles on when its method is renamed
// and is then never true again.
package sock

import "net/netip"

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

// Erring is a conn that reports a failure of its stream to one who is not
// reading from it.
type Erring interface {
	// Err returns what ended the stream, or nil.
	Err() error
}
