package tunnel

import (
	"bytes"
	"net/http"
	"net/textproto"

	"culvert/tunnel/internal/wire"
)

// Bounds on what is kept of a head.
const (
	maxOptionLine   = 8 << 10 // bytes of a line
	maxOptionValues = 64      // Connection fields
)

// replyOptions picks the Connection fields out of a reply's head as it is read.
// The standard library's reader takes the field away where it says close, and
// with it the names of the other fields that are to stay behind (RFC 9110,
// section 7.6.1).
type replyOptions struct {
	line    []byte // the start of a line whose end has not come
	values  []string
	begun   bool // the status line came
	interim bool // it was a 1xx: another head follows
	ended   bool // the final head's blank line came
}

// scan takes the next bytes of the connection. What lies behind the head is left
// alone.
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

// take judges a whole line.
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

// removeReplyHopByHop removes from a reply what concerns the connection to the
// origin, or to the parent, only.
func (x *plainExchange) removeReplyHopByHop(h http.Header) {
	if x.upstream != nil {
		for _, name := range wire.Tokens(x.upstream.replyOptions()) {
			delete(h, textproto.CanonicalMIMEHeaderKey(name))
		}
	}
	removeHopByHop(h)
}
