package wire

// FlawKind is a kind of deviation from the grammar of RFC 9112 in a head.
type FlawKind uint8

// The kinds of flaws. ReadReply accepts all but NUL, BadStartLine and BadStatus.
// ReadRequest accepts EmptyLineFirst, HTTP10, and BareLF if every line ends so.
const (
	NoFlaw           FlawKind = iota
	BareLF                    // a line ended by a lone LF
	BareCR                    // a CR without LF behind it
	NUL                       // a NUL anywhere
	ObsFold                   // a line that starts with whitespace
	SpaceBeforeColon          // whitespace between field name and colon
	NoColon                   // a field line without colon
	EmptyName                 // a field line that starts with its colon
	BadName                   // a field name that is no token
	ControlChar               // another control character in a value or the start line
	EmptyLineFirst            // an empty line before the start line
	NoReason                  // a status line that ends with its code
	HTTP10                    // version 1.0
	HighBytes                 // a byte from 0x80 on in the request line
	ExtraSpace                // whitespace other than one SP before the status code
	BadMethod                 // a method that is no token, or longer than 32 bytes
	BadStartLine              // a start line that does not have its three parts
	BadStatus                 // a status code that is not three digits from 100
	DoubtfulFraming           // Content-Length or Transfer-Encoding in a line that has to be repaired
)

// flawText describes a kind of flaw. The detail is for the error page of a client and
// never quotes the input.
type flawText struct{ id, words, detail string }

var flawTexts = [...]flawText{
	NoFlaw:           {"", "", ""},
	BareLF:           {"bare-lf", "bare LF", "some lines end in CR LF and some in a lone LF"},
	BareCR:           {"bare-cr", "bare CR", "a CR is not followed by a LF"},
	NUL:              {"nul", "NUL", "the head holds a NUL"},
	ObsFold:          {"obs-fold", "folded line", "a field line starts with whitespace"},
	SpaceBeforeColon: {"space-before-colon", "space before colon", "there is whitespace before a field line's colon"},
	NoColon:          {"no-colon", "no colon", "a field line has no colon"},
	EmptyName:        {"empty-name", "empty field name", "a field name is empty"},
	BadName:          {"bad-name", "bad field name", "a field name has a character that is not allowed in it"},
	ControlChar:      {"control-char", "control character", "the head holds a control character"},
	EmptyLineFirst:   {"empty-line-first", "empty line first", "more than one empty line stands before the request line"},
	NoReason:         {"no-reason", "no reason phrase", "the status line ends with its code"},
	HTTP10:           {"http10", "HTTP/1.0", "the version is HTTP/1.0"},
	HighBytes:        {"high-bytes", "non-ASCII byte", "the request line holds a byte that is not ASCII"},
	ExtraSpace:       {"extra-space", "extra space", "there is not exactly one space before the status code"},
	BadMethod:        {"bad-method", "bad method", "the method is not a token of at most 32 bytes"},
	BadStartLine:     {"bad-start-line", "bad start line", "the start line has not the parts it should have"},
	BadStatus:        {"bad-status", "bad status", "the status code is not three digits from 100 to 999"},
	DoubtfulFraming:  {"doubtful-framing", "doubtful framing", "a field that frames the content is not written as one"},
}

// String returns the kind in a few words for a person.
func (k FlawKind) String() string { return flawTexts[k].words }

// ID returns the stable name of the kind, in lower case with hyphens.
func (k FlawKind) ID() string { return flawTexts[k].id }

// tolerable reports whether a request head may have the flaw.
func (k FlawKind) tolerable() bool {
	return k == BareLF || k == EmptyLineFirst || k == HTTP10
}

// Flaw is one flaw of a head.
type Flaw struct {
	Kind   FlawKind
	Offset int // of the first byte in Head.Raw that shows it
}

// Problem says why a head was refused.
type Problem uint8

// The problems, each with the status of the reply that serve sends.
const (
	NotHTTP       Problem = iota + 1 // the first bytes start no HTTP/1 message; 400
	Truncated                        // the bytes ended before the blank line; 408 if Err is a timeout
	TooLarge                         // more bytes than allowed, or too many field lines; 431
	Malformed                        // not the grammar, or a framing that cannot be trusted; 400
	BadVersion                       // HTTP, but not version 1; 505
	Unsupported                      // a transfer coding other than chunked; 501
	TargetTooLong                    // more bytes than allowed within the request line; 414
)

var problemWords = [...]string{"", "not HTTP", "truncated", "too large", "malformed", "bad version", "unsupported", "target too long"}

// String returns the problem in a few words.
func (p Problem) String() string { return problemWords[p] }

// HeadError is the error for a head that was refused. After a HeadError of ReadRequest
// or ReadReply it is undefined how much was consumed, so a connection is good for an
// error reply at most. CheckHost and Framing check a complete head, and set neither Raw
// nor Err.
type HeadError struct {
	Problem Problem
	Flaw    Flaw   // the flaw for which it was refused; of kind NoFlaw if it was not for a single byte
	Detail  string // the cause in a few words, fit for a client to see: no bytes of the input
	Raw     []byte // the bytes received; the first KiB of them for NotHTTP and TooLarge
	Err     error  // for Truncated the read error, io.ErrUnexpectedEOF for an end of file
}

// Error returns the problem, the detail and the read error. It quotes no input.
func (e *HeadError) Error() string {
	s := e.Problem.String() + ": " + e.Detail
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the read error, or nil.
func (e *HeadError) Unwrap() error { return e.Err }
