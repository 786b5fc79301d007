package client

import (
	"time"

	"culvert/tunnel"
	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/wire"
)

// MaxInterim is how many 1xx replies a Client reads past.
const MaxInterim = 16

// MaxExchangeBytes bounds what a Client reads of one exchange over HTTP/1.
const MaxExchangeBytes = (MaxInterim+2)*wire.DefaultMaxHead + 2*maxExcerpt + 2*maxLoginBody

// Limits on what a proxy may send before the tunnel is open.
const (
	maxExcerpt = 16 << 10    // bytes of a refusal's body that are read
	MaxDetail  = 200         // characters of the proxy's own words
	bodyWait   = time.Second // for a refusal's body
)

// Exchange is one CONNECT request and its reply, as they went over the wire.
// Parts that never came are empty or zero.
type Exchange struct {
	Hop      tunnel.Hop       // the proxy spoken to
	HTTP2    bool             // heads are those of a stream of HTTP/2, written a field a line
	Next     tunnel.Authority // what it was asked for
	Request  []byte           // the head as sent; holds credentials
	Interim  [][]byte         // heads of 1xx replies
	Reply    []byte           // the final reply's head, exact
	Body     []byte           // the start of a refusal's content, transfer coding removed
	Started  time.Time        // before the request was written
	Sent     time.Time        // the request was written
	FirstIn  time.Time        // the reply's first byte was there
	Complete time.Time        // the final head's blank line was there
	Glued    int              // bytes that were read together with the reply, behind its head
	Err      error            // why there is no open tunnel, an *Error; nil if there is

	// What became of the connection after a refusal, if that was watched.
	Watched  bool
	KeptOpen bool

	reply     *wire.Reply     // nil unless Reply is whole
	replyErr  *wire.HeadError // why Reply is not
	bodyError error           // why Body broke off; nil if it is whole or long enough
}

// Head is the final reply's head, nil unless it came whole.
func (x *Exchange) Head() *wire.Reply { return x.reply }

// HeadError is why Reply is not a whole head, nil if it is or nothing came.
func (x *Exchange) HeadError() *wire.HeadError { return x.replyErr }

// ContentError is why Body broke off, nil if it is whole or as long as a Client
// reads.
func (x *Exchange) ContentError() error { return x.bodyError }

// Schemes are the authentication schemes that the reply offers, in order and once
// each (RFC 9110, section 11.6.1). They are tokens.
func (x *Exchange) Schemes() []string {
	if x.reply == nil {
		return nil
	}
	return schemesOf(challenges(x.reply))
}

// Page is Body without its content coding (RFC 9110, section 8.4.1), as far as it
// goes; ok is false for a coding that is not known.
func (x *Exchange) Page() (content []byte, ok bool) {
	if x.reply == nil {
		return x.Body, true
	}
	return decoded(x.reply, x.Body)
}

// unfinished reports whether the content may still be on its way, when n bytes came
// after what was read of it. What ends with the connection and is silent is not.
func (x *Exchange) unfinished(n int64) bool {
	framing, err := x.reply.Framing()
	framed := err == nil && (framing.Chunked || framing.Length >= 0)
	return neterr.Timeout(x.bodyError) && (framed || n > 0) || len(x.Body) == maxExcerpt && n > 0
}
