package client

import (
	"time"

	"culvert/tunnel"
	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/wire"
)

// MaxInterim is how many 1xx replies a Client skips before the final reply.
const MaxInterim = 16

// MaxExchangeBytes bounds how many bytes a Client reads in one exchange over HTTP/1.
const MaxExchangeBytes = (MaxInterim+2)*wire.DefaultMaxHead + 2*maxExcerpt + 2*maxLoginBody

// MaxDetail bounds one text that a proxy sent, in bytes after escaping, where an error or
// a report shows it.
const MaxDetail = 200

// Limits on what is read of a refusal.
const (
	maxExcerpt = 16 << 10    // bytes of a refusal's content that are read
	bodyWait   = time.Second // for a refusal's content

	// For the content of a 407 that ends with the connection. It is there at once, or
	// the proxy keeps the connection open for the next request and sends none.
	loginBodyWait = 100 * time.Millisecond
)

// Exchange is one CONNECT request and its reply, as they were on the wire. Parts that
// were not received are empty or zero.
type Exchange struct {
	Hop      tunnel.Hop       // the proxy
	HTTP2    bool             // the heads are those of an HTTP/2 stream, written one field per line
	Next     tunnel.Authority // what the proxy was asked to connect to
	Request  []byte           // the head as sent, credentials included
	Interim  [][]byte         // the heads of 1xx replies
	Reply    []byte           // the final reply's head, byte for byte
	Body     []byte           // the start of a refusal's content, without transfer coding
	Started  time.Time        // before the request was written
	Sent     time.Time        // after the request was written
	FirstIn  time.Time        // when the reply's first byte was received
	Complete time.Time        // when the final head was complete
	Glued    int              // bytes after the reply's head that were read together with it
	Err      error            // why the tunnel is not open, a *tunnel.Error; nil if it is open

	Watched  bool // the connection was observed after a refusal, see Watch.RefusalWait
	KeptOpen bool // the proxy did not close it

	reply     *wire.Reply     // nil unless Reply is complete
	replyErr  *wire.HeadError // why Reply is incomplete or malformed
	bodyError error           // why reading Body failed; nil if it is complete or maxExcerpt long
}

// Head returns the final reply's parsed head, or nil if Reply is not a complete head.
func (x *Exchange) Head() *wire.Reply { return x.reply }

// HeadError returns why Reply is not a complete head, or nil if it is one or if
// nothing was received.
func (x *Exchange) HeadError() *wire.HeadError { return x.replyErr }

// ContentError returns why the refusal's content could not be read. It is nil if Body
// is the whole content, or as much of it as a Client reads.
func (x *Exchange) ContentError() error { return x.bodyError }

// Schemes returns the authentication schemes that the reply offers, in order and
// without duplicates (RFC 9110, section 11.6.1). Each is a token.
func (x *Exchange) Schemes() []string {
	if x.reply == nil {
		return nil
	}
	return schemesOf(challenges(x.reply))
}

// Page returns Body without its content coding (RFC 9110, section 8.4.1), as far as
// it can be decoded; ok is false for an unknown coding.
func (x *Exchange) Page() (content []byte, ok bool) {
	if x.reply == nil {
		return x.Body, true
	}
	return decoded(x.reply, x.Body)
}

// unfinished reports whether the proxy may still be sending the refusal's content, of
// which n bytes were received after Body. Content that ends with the connection is
// finished when no more bytes are received.
func (x *Exchange) unfinished(n int64) bool {
	framing, err := x.reply.Framing()
	framed := err == nil && (framing.Chunked || framing.Length >= 0)
	return neterr.Timeout(x.bodyError) && (framed || n > 0) || len(x.Body) == maxExcerpt && n > 0
}
