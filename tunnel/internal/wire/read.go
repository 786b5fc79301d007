package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
)

const (
	maxExcerpt = 1 << 10 // bytes of a refused message that are kept to show
	maxMethod  = 32      // the longest registered method has 17
	// A request head may consist of lines of three bytes, and each would take
	// ten times its size in memory before the user is verified.
	maxFields = 1024
)

// reader reads one head. It checks the start line byte by byte, so that input which is
// not HTTP is refused without waiting for a line end that may never come. It checks the
// fields when the head is complete.
type reader struct {
	br      *bufio.Reader
	max     int
	request bool // and therefore strict

	raw      []byte
	fields   []Field // memory for the fields
	flaws    []Flaw
	repaired bool // the current field line has a flaw
	lf, crlf bool // the line ends seen

	start    int  // where the start line starts
	inTarget bool // the method of the request line is complete
	line     startLine
}

// startLine holds the parts of a start line. All but code and minor are offsets in
// raw.
type startLine struct {
	end               int // 0 until the line is complete
	target, targetEnd int // of a request line
	code, reason      int // of a status line
	minor             int
}

func newReader(br *bufio.Reader, limit int, request bool) reader {
	if limit <= 0 {
		limit = DefaultMaxHead
	}
	return reader{br: br, max: limit, request: request}
}

// Scratch is memory that is used for one head after the other. Only the text of a head,
// of which all its strings are parts, is allocated anew, and may be kept.
type Scratch struct {
	raw     []byte
	fields  []Field
	request Request
	reply   Reply
}

// maxScratch is the size in bytes up to which a head's memory is used again.
const maxScratch = 4 << 10

// begin gives the scratch's memory to a reader.
func (s *Scratch) begin(r *reader) { r.raw, r.fields = s.raw[:0], s.fields[:0] }

// end takes back the memory of h.
func (s *Scratch) end(h *Head) {
	if cap(h.Raw) <= maxScratch {
		s.raw, s.fields = h.Raw, h.Fields
	}
}

// ReadRequest is like the function ReadRequest. The Request, its Raw and its Fields are
// valid until the next call.
func (s *Scratch) ReadRequest(br *bufio.Reader, limit int) (*Request, error) {
	r := newReader(br, limit, true)
	s.begin(&r)
	err := r.readRequest(&s.request)
	s.end(&s.request.Head)
	if err != nil {
		return nil, err
	}
	return &s.request, nil
}

// ReadReply is like the function ReadReply. The Reply, its Raw and its Fields are valid
// until the next call.
func (s *Scratch) ReadReply(br *bufio.Reader, limit int) (*Reply, error) {
	r := newReader(br, limit, false)
	s.begin(&r)
	err := r.readReply(&s.reply)
	s.end(&s.reply.Head)
	if err != nil {
		return nil, err
	}
	return &s.reply, nil
}

// read reads into raw through the blank line.
func (r *reader) read() error {
	line := 0 // where the current line starts
	for {
		from := len(r.raw)
		ended, err := r.more()
		if err != nil {
			return err
		}
		if err := r.inspect(from); err != nil {
			return err
		}
		if !ended {
			continue
		}
		empty, err := r.endLine(line)
		switch {
		case err != nil:
			return err
		case empty && r.line.end > 0:
			return nil
		case empty:
			if err := r.skipEmptyLine(); err != nil {
				return err
			}
		case r.line.end == 0:
			if err := r.parseStartLine(); err != nil {
				return err
			}
		}
		line = len(r.raw)
	}
}

// more appends the bytes that are buffered to raw, up to the first LF, and waits only if
// none are. It reports whether it reached a LF.
func (r *reader) more() (ended bool, err error) {
	if len(r.raw) >= r.max {
		if r.request && r.line.end == 0 && r.inTarget {
			return false, r.fail(TargetTooLong, Flaw{}, "the request target is longer than allowed") // RFC 9112, section 3
		}
		return false, r.fail(TooLarge, Flaw{}, "the head is larger than allowed")
	}
	if r.br.Buffered() == 0 {
		if _, err := r.br.Peek(1); err != nil {
			return false, r.truncated(err)
		}
	}
	chunk, err := r.br.Peek(min(r.br.Buffered(), r.max-len(r.raw)))
	if err != nil {
		return false, r.truncated(err)
	}
	if r.raw == nil {
		r.raw = make([]byte, 0, max(256, min(len(chunk), 1024)))
	}
	if i := bytes.IndexByte(chunk, '\n'); i >= 0 {
		chunk, ended = chunk[:i+1], true
	}
	r.raw = append(r.raw, chunk...)
	_, err = r.br.Discard(len(chunk))
	return ended, err
}

// inspect checks the bytes of raw from offset from on, which were just received.
func (r *reader) inspect(from int) error {
	if r.line.end == 0 {
		if r.request {
			return r.inspectRequestLine(from)
		}
		return r.inspectStatusLine(from)
	}
	return r.inspectNUL(from)
}

// inspectNUL refuses a NUL, which is an error in replies too (RFC 9110, section 5.5).
func (r *reader) inspectNUL(from int) error {
	if i := bytes.IndexByte(r.raw[from:], 0); i >= 0 {
		return r.malformed(NUL, from+i)
	}
	return nil
}

// endLine checks the end of the line that starts at offset line and is complete, and
// reports whether the line is empty.
func (r *reader) endLine(line int) (empty bool, err error) {
	end := len(r.raw) - 1
	if end > line && r.raw[end-1] == '\r' {
		r.crlf = true
		end--
	} else {
		r.lf = true
		r.note(BareLF, end)
	}
	if r.request && r.lf && r.crlf {
		// RFC 9112, section 2.2 lets a recipient take a lone LF for a line end.
		// If both line ends occur, the next hop may see other lines.
		return false, r.malformed(BareLF, r.offset(BareLF))
	}
	return end == line, nil
}

// skipEmptyLine skips one empty line before the request line, as RFC 9112, section 2.2
// recommends: old clients send one after a body.
func (r *reader) skipEmptyLine() error {
	if r.start > 0 {
		return r.malformed(EmptyLineFirst, r.start)
	}
	r.note(EmptyLineFirst, 0)
	r.start = len(r.raw)
	return nil
}

func (r *reader) parseStartLine() error {
	end := len(r.raw) - 1
	if r.raw[end-1] == '\r' {
		end--
	}
	r.line.end = end
	if r.request {
		return r.parseRequestLine()
	}
	return r.parseStatusLine()
}

// parseVersion parses HTTP-version (RFC 9112, section 2.3) in raw[from:to].
func (r *reader) parseVersion(from, to int) error {
	version, ok := bytes.CutPrefix(r.raw[from:to], []byte("HTTP/"))
	switch digits := len(version) == 3 && version[1] == '.' && isDigit(version[0]) && isDigit(version[2]); {
	case ok && string(version) == "2", ok && string(version) == "3": // as some write HTTP/2.0 and HTTP/3.0
		return r.fail(BadVersion, Flaw{}, "the version is not HTTP/1.1 or HTTP/1.0")
	case !ok || !digits:
		return r.malformed(BadStartLine, from)
	case version[0] != '1':
		return r.fail(BadVersion, Flaw{}, "the version is not HTTP/1.1 or HTTP/1.0")
	}
	if version[2] == '0' {
		r.note(HTTP10, to-1)
		return nil
	}
	r.line.minor = 1 // RFC 9110, section 2.5: a higher minor version is read as the highest known
	return nil
}

// note records a flaw unless one of its kind is recorded already.
func (r *reader) note(kind FlawKind, offset int) {
	if r.offset(kind) < 0 {
		r.flaws = append(r.flaws, Flaw{kind, offset})
	}
}

// offset returns where the recorded flaw of that kind is, or -1.
func (r *reader) offset(kind FlawKind) int {
	for _, flaw := range r.flaws {
		if flaw.Kind == kind {
			return flaw.Offset
		}
	}
	return -1
}

// flaw records a flaw, or returns an error if a request must not have it.
func (r *reader) flaw(kind FlawKind, offset int) error {
	if r.request && !kind.tolerable() {
		return r.malformed(kind, offset)
	}
	r.repaired = true
	r.note(kind, offset)
	return nil
}

func (r *reader) malformed(kind FlawKind, offset int) error {
	return r.fail(Malformed, Flaw{kind, offset}, flawTexts[kind].detail)
}

// fail returns the error for the head read so far.
func (r *reader) fail(problem Problem, flaw Flaw, detail string) error {
	e := &HeadError{Problem: problem, Flaw: flaw, Detail: detail, Raw: r.raw}
	switch problem {
	case NotHTTP: // the bytes that follow show which protocol it is
		rest, _ := r.br.Peek(r.br.Buffered())
		e.Raw = excerpt(r.raw, rest)
	case TooLarge, TargetTooLong:
		e.Raw = excerpt(r.raw, nil)
	}
	return e
}

// truncated returns the error for a head that a read error ended. If no byte had been
// received, it is the read error itself.
func (r *reader) truncated(err error) error {
	if len(r.raw) == 0 {
		return err
	}
	detail := "the connection ended before the head did"
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		detail = "the head did not arrive in time"
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	return &HeadError{Problem: Truncated, Detail: detail, Raw: r.raw, Err: err}
}

// excerpt returns a copy of the first bytes of a followed by b.
func excerpt(a, b []byte) []byte {
	a = a[:min(len(a), maxExcerpt)]
	b = b[:min(len(b), maxExcerpt-len(a))]
	return append(bytes.Clone(a), b...)
}
