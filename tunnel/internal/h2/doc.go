// Package h2 speaks HTTP/2 (RFC 9113) on a connection, as server or as client,
// with a frame loop of its own over golang.org/x/net/http2's Framer and hpack.
// net/http cannot half-close a response before its handler returns, nor reset a
// stream with a code of the handler's choice; a Stream here is a net.Conn that
// can do both. The package knows nothing of what the streams carry.
//
// # The flow, and the file of each stage
//
//	conn ──▶ input.go ──▶ read.go ──▶ headers.go ──▶ validate.go ──▶ handle, or ReadHead
//	         buffers      frames      blocks, HPACK   section 8       stream.go
//	                        │
//	                        ├── data.go      DATA into streams; windows we grant
//	                        ├── settings.go  SETTINGS, both sides'
//	                        ├── budget.go    what a peer may cost us
//	                        └── conn.go      streams come and go; abandon.go: tunnels
//	                                         that were closed; end.go: all of it ends
//	conn ◀── write.go ◀── streamwrite.go, stream.go
//	         one buffer, one frame per stream in turn
//
// One goroutine reads from the connection. Another writes to it, for as long as
// there is something to write. Handlers have one each, until they return.
// Everything is guarded by the connection's mutex, and the reader never waits
// for a stream: what a stream's owner does not read waits in its buffer.
//
// # What bounds the memory
//
// A stream may have in its buffer what its window allows. It begins with
// Config.StreamWindow and grows while its owner keeps up, out of what
// Config.MaxBuffered leaves beyond the first windows of all streams. Credit of
// the connection's window is given back on receipt: a stream that nobody reads
// stalls itself alone. Buffers are borrowed while there are bytes in them.
//
// # Ownership
//
// A Conn owns its net.Conn and closes it. Whoever got a Stream, a handler or
// Open's caller, calls Close or Reset on it once, from any goroutine.
package h2
