package forward

import (
	"bytes"
	"net/http"
	"net/textproto"

	"culvert/tunnel/internal/wire"
)

// Bounds on how much of a head is kept.
const (
	maxOptionLine   = 8 << 10 // bytes of a line
	maxOptionValues = 64      // Connection fields
)

// replyOptions collects the Connection fields of a reply's head while it is read. The
// standard library removes such a field if it has "close", and with it the names of
// other fields that must not be forwarded (RFC 9110, section 7.6.1).
type replyOptions struct {
	line    []byte // the beginning of an incomplete line
	values  []string
	begun   bool // the status line was read
	interim bool // it is an interim reply: another head follows
	ended   bool // the final head's blank line was read
}

// scan reads the next bytes of the connection, and ignores those behind the head.
func (o *replyOptions) scan(b []byte) {
	for len(b) > 0 && !o.ended {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			o.line = append(o.line, b[:min(len(b), maxOptionLine-len(o.line))]...)
			return
		}
		line := b[:end]
		if len(o.line) > 0 {
			line = append(o.line, line[:min(len(line), maxOptionLine-len(o.line))]...)
			o.line = o.line[:0]
		}
		o.take(bytes.TrimSuffix(line, []byte("\r")))
		b = b[end+1:]
	}
}

// take reads a complete line.
func (o *replyOptions) take(line []byte) {
	const name = "connection:"
	switch {
	case !o.begun && len(line) > 0:
		_, code, _ := bytes.Cut(line, []byte(" "))
		o.begun, o.interim, o.values = true, bytes.HasPrefix(code, []byte("1")) && !bytes.HasPrefix(code, []byte("101")), nil
	case !o.begun:
	case len(line) == 0:
		o.ended, o.begun = !o.interim, false
	case len(line) > len(name) && line[len(name)-1] == ':' && bytes.EqualFold(line[:len(name)], []byte(name)) && len(o.values) < maxOptionValues:
		o.values = append(o.values, string(line[len(name):]))
	}
}

// removeReplyHopByHop removes those fields of a reply that concern only the connection to
// the origin or the parent.
func (x *exchange) removeReplyHopByHop(h http.Header) {
	if x.upstream != nil {
		for _, name := range wire.Tokens(x.upstream.replyOptions()) {
			delete(h, textproto.CanonicalMIMEHeaderKey(name))
		}
	}
	removeHopByHop(h)
}
