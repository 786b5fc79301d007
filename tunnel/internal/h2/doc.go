// Package h2 speaks HTTP/2 (RFC 9113) on a connection, as server or as client. It has its
// own frame loop over the Framer and hpack of golang.org/x/net/http2. net/http can neither
// half-close a response before its handler returns, nor reset a stream with a code that
// the handler chooses; a Stream here is a net.Conn that can do both.
//
// The package does not know what the streams carry. Of this module it imports only
// package sock.
//
// # The flow, and the file of each stage
//
//	conn ──▶ input.go ──▶ read.go ──▶ headers.go ──▶ validate.go ──▶ handle, or ReadHead
//	         buffers      frames      blocks, HPACK   section 8       stream.go
//	                        │
//	                        ├── data.go      DATA into streams; receive windows
//	                        ├── settings.go  SETTINGS of both sides
//	                        ├── budget.go    what a peer may cost
//	                        └── conn.go      opening and ending streams; abandon.go: tunnels
//	                                         that were closed; end.go: the end of the connection
//	conn ◀── write.go ◀── streamwrite.go, stream.go
//	         one buffer, one frame per stream in turn
//
// One goroutine reads from the connection. Another writes to it while there is something
// to write. Each handler has one until it returns. The mutex of the connection guards
// everything, and the reader never waits for a stream: bytes that the owner of a stream
// has not read are in its buffer.
//
// # What bounds the memory
//
// The window of a stream bounds its buffer. It starts at Config.StreamWindow and grows
// while the owner keeps up, by what Config.MaxBuffered leaves beyond the first windows of
// all streams. Credit for the window of the connection is returned on receipt, so that a
// stream that is not read stalls only itself. Buffers are borrowed while there are bytes
// in them.
//
// # Ownership
//
// A Conn owns its net.Conn and closes it. A Stream belongs to the handler that was called
// with it or to the caller of Open, who ends it with Close or Reset, from any goroutine.
package h2
