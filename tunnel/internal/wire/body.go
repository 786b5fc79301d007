package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"strings"
)

// Body reads the content of a request according to its Framing. It consumes the content
// and the trailer section and nothing behind them, so the next head can be read from
// the same reader after Read has returned io.EOF. If the content ends too soon, Read
// returns io.ErrUnexpectedEOF. Bodies are made by NewBody.
type Body struct {
	// Trailer holds the announced fields without values, and after io.EOF the
	// fields that were received. It is nil unless the content is chunked.
	Trailer http.Header

	br      *bufio.Reader
	content io.Reader
	length  *io.LimitedReader // is content; nil if that is chunked
	err     error             // returned by all further reads
}

// NewBody returns a Body for content that begins at br. The trailer section may be as
// long as the buffer of br. announced are the values of the Trailer field; it is an
// error if they name a field that frames a message (RFC 9110, section 6.5.1).
func NewBody(br *bufio.Reader, framing Framing, announced []string) (*Body, error) {
	if !framing.Chunked {
		length := &io.LimitedReader{R: br, N: max(0, framing.Length)}
		return &Body{br: br, content: length, length: length}, nil
	}
	b := &Body{br: br, content: httputil.NewChunkedReader(br), Trailer: make(http.Header)}
	for _, list := range announced {
		for name := range strings.SplitSeq(list, ",") {
			switch name = textproto.CanonicalMIMEHeaderKey(textproto.TrimString(name)); name {
			case "":
			case "Transfer-Encoding", "Content-Length", "Trailer":
				return nil, fmt.Errorf("a trailer section cannot hold %s", name)
			default:
				b.Trailer[name] = nil
			}
		}
	}
	return b, nil
}

// Read implements io.Reader. Where it can, it returns io.EOF along with the last bytes,
// so that a sender learns at once that no more follow.
func (b *Body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.content.Read(p)
	switch {
	case b.length == nil && err == io.EOF:
		if bad := b.readTrailer(); bad != nil {
			err = bad
		}
	case b.length != nil && b.length.N == 0:
		err = io.EOF
	case b.length != nil && err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	b.err = err
	return n, err
}

var (
	errTrailerCut  = errors.New("the trailer section is cut short")
	errTrailerLong = errors.New("the trailer section is too long")
)

// readTrailer reads the trailer section (RFC 9112, section 7.1.2).
func (b *Body) readTrailer() error {
	start, err := b.br.Peek(2)
	switch {
	case string(start) == "\r\n": // nearly always: the section is empty
		_, err = b.br.Discard(2)
		return err
	case len(start) < 2:
		return errTrailerCut
	case err != nil:
		return err
	}
	if !b.seesEmptyLine() {
		return errTrailerLong
	}
	fields, err := textproto.NewReader(b.br).ReadMIMEHeader()
	if err == io.EOF {
		return errTrailerCut
	}
	if err != nil {
		return err
	}
	maps.Copy(b.Trailer, http.Header(fields))
	return nil
}

// seesEmptyLine waits for the empty line that ends the section, and reports whether it
// is within the buffer of br. textproto has no limit of its own.
func (b *Body) seesEmptyLine() bool {
	for {
		have, _ := b.br.Peek(b.br.Buffered())
		if bytes.Contains(have, []byte("\r\n\r\n")) {
			return true
		}
		if _, err := b.br.Peek(len(have) + 1); err != nil {
			return false
		}
	}
}
