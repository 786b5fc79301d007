package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
)

// Content reads the content of a message according to its Framing, and the trailer
// section, and nothing behind them: the next head can be read from the same reader once
// Read has returned io.EOF. Content that ends too soon is io.ErrUnexpectedEOF. It holds
// no buffer of its own. Reset makes it ready to use, and to be used again.
type Content struct {
	br      *bufio.Reader
	framing Framing
	request bool
	left    int64 // bytes of the content, or of the current chunk, that were not read
	chunk   chunkState
	extras  int // bytes of chunk lines beyond their sizes, which are bounded
	trailer []Field
	err     error // returned by all further reads
}

// Reset makes c read content that begins at br. In a request what RFC 9112 calls invalid
// is an error; in a reply whitespace behind a chunk size is read past, and a trailer
// field is repaired as ReadReply repairs one.
func (c *Content) Reset(br *bufio.Reader, framing Framing, request bool) {
	*c = Content{br: br, framing: framing, request: request, left: max(0, framing.Length)}
	if framing.Empty() {
		c.err = io.EOF
	}
}

// Read implements io.Reader. Where it can, it returns io.EOF along with the last bytes,
// so that the sender of what was read learns at once that no more follow.
func (c *Content) Read(p []byte) (n int, err error) {
	switch {
	case c.err != nil || len(p) == 0:
		return 0, c.err
	case c.framing.Chunked:
		n, c.err = c.readChunks(p)
		return n, c.err
	case c.framing.UntilClose:
		n, c.err = c.br.Read(p)
		return n, c.err
	}
	n, err = c.br.Read(p[:min(int64(len(p)), c.left)])
	c.Skip(int64(n))
	if c.err == nil && err != nil {
		c.err = unexpected(err)
	}
	return n, c.err
}

// Left returns how many bytes of content with a known length were not read; -1 = the
// length is not known.
func (c *Content) Left() int64 {
	if c.framing.Chunked || c.framing.UntilClose {
		return -1
	}
	return c.left
}

// Arrived reports whether all of the content is known to be in the reader's buffer.
func (c *Content) Arrived() bool {
	left := c.Left()
	return left >= 0 && left <= int64(c.br.Buffered())
}

// Buffered returns how many bytes are in the reader, of the content or behind it.
func (c *Content) Buffered() int { return c.br.Buffered() }

// Skip notes that n bytes of content with a known length were read by other means than
// Read, beneath the reader, whose buffer must be empty.
func (c *Content) Skip(n int64) {
	if c.left -= n; c.left <= 0 && c.err == nil {
		c.err = io.EOF
	}
}

// Whole reports whether all of the content was read, the trailer section included.
func (c *Content) Whole() bool { return c.err == io.EOF }

// Trailer returns the fields of the trailer section, once Read has returned io.EOF.
func (c *Content) Trailer() []Field { return c.trailer }

// unexpected returns the error of a read within a message.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// ContentError is the error of content that is not framed as RFC 9112 demands, so that
// it is not known where it ends.
type ContentError struct{ Detail string }

// Error returns the detail, which quotes no input.
func (e *ContentError) Error() string { return e.Detail }

// chunkState says what comes next in chunked content (RFC 9112, section 7.1).
type chunkState uint8

const (
	chunkSize chunkState = iota // the line with the size of a chunk
	chunkData                   // the rest of a chunk
	chunkEnd                    // the line end behind a chunk's data
)

// Bounds of what chunked content holds beside the content.
const (
	maxChunkLine    = 4 << 10  // bytes of a line with a size
	chunkExtra      = 16       // bytes of such a line that count as nothing, besides its digits
	maxChunkExtras  = 16 << 10 // bytes of all lines beyond that, in excess of the content
	maxTrailer      = 16 << 10 // bytes of the trailer section
	maxSizeDigits   = 16
	errChunkTooLong = "a chunk's line is too long"
)

// readChunks reads the data of chunks into p until p is full, or reading on might wait.
func (c *Content) readChunks(p []byte) (n int, err error) {
	for n < len(p) {
		if n > 0 && !c.buffered() {
			return n, nil
		}
		switch c.chunk {
		case chunkSize:
			if err := c.readSize(); err != nil {
				return n, err
			}
			if c.left == 0 {
				if err := c.readTrailer(); err != nil {
					return n, err
				}
				return n, io.EOF
			}
			c.chunk = chunkData
		case chunkData:
			m, err := c.br.Read(p[n:min(int64(len(p)), int64(n)+c.left)])
			n += m
			if c.left -= int64(m); c.left == 0 {
				c.chunk = chunkEnd
			}
			// A chunk of a few bytes may not pay with a long line each time.
			c.extras = max(0, c.extras-m)
			if err != nil {
				return n, unexpected(err)
			}
		case chunkEnd:
			if err := c.readLineEnd(); err != nil {
				return n, err
			}
			c.chunk = chunkSize
		}
	}
	return n, c.endIfBuffered()
}

// buffered reports whether the next step of readChunks can be taken without waiting.
func (c *Content) buffered() bool {
	have, _ := c.br.Peek(c.br.Buffered())
	switch c.chunk {
	case chunkSize:
		return bytes.IndexByte(have, '\n') >= 0
	case chunkEnd:
		return len(have) >= 2
	}
	return len(have) > 0
}

// endIfBuffered reads the last chunk if all of it is in the buffer, so that io.EOF comes
// along with the last bytes.
func (c *Content) endIfBuffered() error {
	if c.chunk == chunkData {
		return nil
	}
	end := "0\r\n\r\n"
	if c.chunk == chunkEnd {
		end = "\r\n" + end
	}
	if have, _ := c.br.Peek(min(len(end), c.br.Buffered())); string(have) != end {
		return nil
	}
	_, _ = c.br.Discard(len(end))
	return io.EOF
}

// readLineEnd reads the CR LF behind a chunk's data.
func (c *Content) readLineEnd() error {
	end, err := c.br.Peek(2)
	switch {
	case len(end) >= 1 && end[0] != '\r', len(end) == 2 && end[1] != '\n':
		return &ContentError{"a chunk is longer than its size"}
	case err != nil:
		return unexpected(err)
	}
	_, err = c.br.Discard(2)
	return err
}

// readSize reads the line with a chunk's size into c.left.
func (c *Content) readSize() error {
	line, err := c.readLine(maxChunkLine)
	if err != nil {
		return err
	}
	digits := 0
	c.left = 0
	for digits < len(line) && isHex(line[digits]) {
		if digits == maxSizeDigits || c.left > (1<<63-1)>>4 {
			return &ContentError{"a chunk's size is too large"}
		}
		c.left = c.left<<4 | int64(hexValue(line[digits]))
		digits++
	}
	if digits == 0 {
		return &ContentError{"a chunk's size is not a hexadecimal number"}
	}
	if c.extras += max(0, len(line)-digits-chunkExtra); c.extras > maxChunkExtras {
		return &ContentError{"the chunks hold too little content for their lines"}
	}
	return c.checkExtensions(line[digits:])
}

// readLine reads a line that ends in CR LF, at most limit bytes of it, and returns it
// without its end. The slice is valid until the next read.
func (c *Content) readLine(limit int) ([]byte, error) {
	line, err := c.br.ReadSlice('\n')
	switch {
	case err == bufio.ErrBufferFull || len(line) > limit:
		return nil, &ContentError{errChunkTooLong}
	case err != nil:
		return nil, unexpected(err)
	case len(line) < 2 || line[len(line)-2] != '\r':
		return nil, &ContentError{"a chunk's line ends in a lone LF"}
	}
	line = line[:len(line)-2]
	for _, b := range line {
		if isControl(b) {
			return nil, &ContentError{"a chunk's line holds a control character"}
		}
	}
	return line, nil
}

// checkExtensions checks chunk extensions (RFC 9112, section 7.1.1), which are not
// forwarded. Whitespace at the end is an error in a request only.
func (c *Content) checkExtensions(rest []byte) error {
	text := strings.TrimLeft(string(rest), " \t")
	switch {
	case len(rest) == 0:
		return nil
	case text == "" && !c.request, strings.HasPrefix(text, ";"):
		return nil
	}
	return &ContentError{"a chunk's size is not a hexadecimal number"}
}

// readTrailer reads the trailer section (RFC 9112, section 7.1.2).
func (c *Content) readTrailer() error {
	start, err := c.br.Peek(2)
	switch {
	case string(start) == "\r\n": // nearly always: the section is empty
		_, err = c.br.Discard(2)
		return err
	case len(start) < 2:
		return unexpected(err)
	}
	r := newReader(c.br, maxTrailer, c.request)
	c.trailer, err = r.readFields()
	var head *HeadError
	switch {
	case !errors.As(err, &head):
		return unexpected(err)
	case head.Problem == Truncated:
		return head.Err
	}
	return &ContentError{"the trailer section is malformed: " + head.Detail}
}

// readFields reads field lines through the blank line that ends them, and nothing behind
// it. In a request no line may end in a lone LF.
func (r *reader) readFields() ([]Field, error) {
	for line := 0; ; {
		from := len(r.raw)
		ended, err := r.more()
		if err != nil {
			return nil, err
		}
		if err := r.inspectNUL(from); err != nil {
			return nil, err
		}
		if !ended {
			continue
		}
		empty, err := r.endLine(line)
		switch {
		case err != nil:
			return nil, err
		case r.request && r.lf:
			return nil, r.malformed(BareLF, r.offset(BareLF))
		case empty:
			text := string(r.raw)
			if r.request && strings.Count(text, "\n") > maxFields {
				return nil, r.fail(TooLarge, Flaw{}, "there are too many field lines")
			}
			var list fieldList
			err := r.parseFields(&list, text, 0)
			return list.fields, err
		}
		line = len(r.raw)
	}
}

func hexValue(b byte) byte {
	switch {
	case isDigit(b):
		return b - '0'
	case b >= 'a':
		return b - 'a' + 10
	}
	return b - 'A' + 10
}
