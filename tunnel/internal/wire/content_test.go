package wire

import (
	"bufio"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func TestContent(t *testing.T) {
	const next = "GET / HTTP/1.1\r\n"
	long := strings.Repeat("x", 5000) // more than a bufio.Reader holds
	chunked := Framing{Length: -1, Chunked: true}
	for name, tt := range map[string]struct {
		framing Framing
		in      string
		content string
		request string // the error in a request; "" = all went well, and next follows
		reply   string // the error in a reply
		trailer []Field
	}{
		"length":             {Framing{Length: 5}, "hello" + next, "hello", "", "", nil},
		"no content":         {Framing{Length: 0}, next, "", "", "", nil},
		"no framing":         {Framing{Length: -1}, next, "", "", "", nil},
		"long":               {Framing{Length: 5000}, long + next, long, "", "", nil},
		"cut short":          {Framing{Length: 5}, "hell", "hell", "unexpected EOF", "unexpected EOF", nil},
		"until close":        {Framing{Length: -1, UntilClose: true}, long, long, "", "", nil},
		"chunked":            {chunked, "5\r\nhello\r\n0\r\n\r\n" + next, "hello", "", "", nil},
		"long chunk":         {chunked, "1388\r\n" + long + "\r\n0\r\n\r\n" + next, long, "", "", nil},
		"several chunks":     {chunked, "A\r\n0123456789\r\nb\r\n0123456789a\r\n000000001\r\n!\r\n00\r\n\r\n" + next, "01234567890123456789a!", "", "", nil},
		"extensions":         {chunked, "5;a=b\r\nhello\r\n1 ; q=\"a\\\"b\"\r\n!\r\n0;z\r\n\r\n" + next, "hello!", "", "", nil},
		"no chunk":           {chunked, "0\r\n\r\n" + next, "", "", "", nil},
		"trailer":            {chunked, "1\r\nx\r\n0\r\nx-sum: 1\r\nX-Sum:2 \r\n\r\n" + next, "x", "", "", []Field{{"x-sum", "1"}, {"X-Sum", "2"}}},
		"chunk cut short":    {chunked, "5\r\nhell", "hell", "unexpected EOF", "unexpected EOF", nil},
		"between chunks":     {chunked, "5\r\nhello\r\n", "hello", "unexpected EOF", "unexpected EOF", nil},
		"within a size":      {chunked, "5\r\nhello\r\n0", "hello", "unexpected EOF", "unexpected EOF", nil},
		"without its end":    {chunked, "5\r\nhello\r\n0\r\n", "hello", "unexpected EOF", "unexpected EOF", nil},
		"trailer cut short":  {chunked, "0\r\n\r", "", "unexpected EOF", "unexpected EOF", nil},
		"within a trailer":   {chunked, "0\r\nX-Sum: 1\r\n", "", "unexpected EOF", "unexpected EOF", nil},
		"long trailer":       {chunked, "0\r\nX: " + strings.Repeat("x", maxTrailer) + "\r\n\r\n", "", "the trailer section is malformed: the head is larger", "the trailer section is malformed: the head is larger", nil},
		"no number":          {chunked, "five\r\nhello\r\n", "", "a chunk's size is not a hexadecimal number", "a chunk's size is not a hexadecimal number", nil},
		"no size":            {chunked, "\r\nhello\r\n", "", "a chunk's size is not a hexadecimal number", "a chunk's size is not a hexadecimal number", nil},
		"signed":             {chunked, "+5\r\nhello\r\n", "", "a chunk's size is not a hexadecimal number", "a chunk's size is not a hexadecimal number", nil},
		"prefixed":           {chunked, "0x5\r\nhello\r\n", "", "a chunk's size is not a hexadecimal number", "a chunk's size is not a hexadecimal number", nil},
		"space before":       {chunked, " 5\r\nhello\r\n", "", "a chunk's size is not a hexadecimal number", "a chunk's size is not a hexadecimal number", nil},
		"space within":       {chunked, "5 5\r\nhello\r\n", "", "a chunk's size is not a hexadecimal number", "a chunk's size is not a hexadecimal number", nil},
		"space behind":       {chunked, "5  \r\nhello\r\n0\r\n\r\n" + next, "", "a chunk's size is not a hexadecimal number", "", nil},
		"more than 63 bits":  {chunked, "8000000000000000\r\nhello\r\n", "", "a chunk's size is too large", "a chunk's size is too large", nil},
		"more than 64 bits":  {chunked, "10000000000000001\r\nhello\r\n", "", "a chunk's size is too large", "a chunk's size is too large", nil},
		"lone LF":            {chunked, "5\nhello\r\n", "", "a chunk's line ends in a lone LF", "a chunk's line ends in a lone LF", nil},
		"lone LF behind":     {chunked, "5\r\nhello\n0\r\n\r\n", "hello", "a chunk is longer than its size", "a chunk is longer than its size", nil},
		"longer than said":   {chunked, "4\r\nhello\r\n0\r\n\r\n", "hell", "a chunk is longer than its size", "a chunk is longer than its size", nil},
		"bare CR":            {chunked, "5;a\rb\r\nhello\r\n", "", "a chunk's line holds a control character", "a chunk's line holds a control character", nil},
		"NUL":                {chunked, "5;a\x00\r\nhello\r\n", "", "a chunk's line holds a control character", "a chunk's line holds a control character", nil},
		"long extension":     {chunked, "5;" + long + "\r\nhello\r\n", "", "a chunk's line is too long", "a chunk's line is too long", nil},
		"little in much":     {chunked, strings.Repeat("1;"+long[:1000]+"\r\nx\r\n", 20), strings.Repeat("x", 16), "the chunks hold too little", "the chunks hold too little", nil},
		"NUL in a trailer":   {chunked, "0\r\nX: a\x00\r\n\r\n", "", "the trailer section is malformed: the head holds a NUL", "the trailer section is malformed: the head holds a NUL", nil},
		"no field":           {chunked, "0\r\nno field\r\nX: 1\r\n\r\n" + next, "", "the trailer section is malformed: a field line has no colon", "", []Field{{"X", "1"}}},
		"LF in a trailer":    {chunked, "0\r\nX: 1\n\n" + next, "", "the trailer section is malformed: some lines", "", []Field{{"X", "1"}}},
		"space before colon": {chunked, "0\r\nX : 1\r\n\r\n" + next, "", "the trailer section is malformed: there is whitespace", "", []Field{{"X", "1"}}},
	} {
		for pieces, cut := range map[string]func(io.Reader) io.Reader{
			"at once": func(r io.Reader) io.Reader { return r }, "in pieces": iotest.OneByteReader, "EOF along with data": iotest.DataErrReader,
		} {
			for side, want := range map[string]string{"request": tt.request, "reply": tt.reply} {
				t.Run(name+" "+pieces+" "+side, func(t *testing.T) {
					br := bufio.NewReaderSize(cut(strings.NewReader(tt.in)), 4096)
					var c Content
					c.Reset(br, tt.framing, side == "request")
					content, err := io.ReadAll(&c)
					got := ""
					if err != nil {
						got = err.Error()
					}
					// "space behind" and "no field" have content in a reply only.
					if want != "" && !strings.HasPrefix(string(content), tt.content) || want == "" && tt.request == "" && string(content) != tt.content ||
						!strings.HasPrefix(got, want) || (got == "") != (want == "") {
						t.Fatalf("read %q and %q, want %q and %q", content, got, tt.content, want)
					}
					if whole := c.Whole(); whole != (err == nil) {
						t.Errorf("whole is %v", whole)
					}
					if n, again := c.Read(make([]byte, 1)); n != 0 || again == nil {
						t.Errorf("a further read: %d, %v", n, again)
					}
					if err != nil {
						return
					}
					if !slices.Equal(c.Trailer(), tt.trailer) {
						t.Errorf("the trailer is %v, want %v", c.Trailer(), tt.trailer)
					}
					if rest, _ := io.ReadAll(br); !tt.framing.UntilClose && string(rest) != next {
						t.Errorf("%q was left for the next message, want %q", rest, next)
					}
				})
			}
		}
	}
}

// io.EOF comes with the last bytes if the end has arrived, so that a sender need not read
// again.
func TestContentEndsWithItsLastByte(t *testing.T) {
	for in, framing := range map[string]Framing{
		"hello":                            {Length: 5},
		"5\r\nhello\r\n0\r\n\r\n":          {Length: -1, Chunked: true},
		"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n": {Length: -1, Chunked: true},
	} {
		var c Content
		c.Reset(bufio.NewReader(strings.NewReader(in)), framing, true)
		if n, err := c.Read(make([]byte, 5)); n != 5 || err != io.EOF {
			t.Errorf("%q: read %d, %v, want 5 and io.EOF", in, n, err)
		}
	}
}

// Data that has arrived is not held back until a chunk is complete.
func TestContentWaitsForNothing(t *testing.T) {
	near, far := io.Pipe()
	defer far.Close()
	go io.WriteString(far, "5\r\nhello\r\n5\r\nwo")
	var c Content
	c.Reset(bufio.NewReader(near), Framing{Length: -1, Chunked: true}, false)
	p := make([]byte, 100)
	n, err := io.ReadAtLeast(&c, p, 7)
	if string(p[:n]) != "hellowo" || err != nil {
		t.Errorf("read %q, %v", p[:n], err)
	}
}

// What is read beneath the reader counts.
func TestContentSkip(t *testing.T) {
	var c Content
	c.Reset(bufio.NewReader(strings.NewReader("")), Framing{Length: 10}, false)
	if c.Skip(4); c.Left() != 6 || c.Whole() {
		t.Errorf("%d bytes are left", c.Left())
	}
	if c.Skip(6); c.Left() != 0 || !c.Whole() {
		t.Errorf("%d bytes are left at the end", c.Left())
	}
}

// The connection's own error is returned, and not a repeated one.
func TestContentFails(t *testing.T) {
	broken := errors.New("broken")
	for in, framing := range map[string]Framing{
		"hell":                 {Length: 5},
		"5\r\nhell":            {Length: -1, Chunked: true},
		"5\r\nhello\r\n0\r\nX": {Length: -1, Chunked: true},
		"all":                  {Length: -1, UntilClose: true},
	} {
		var c Content
		c.Reset(bufio.NewReader(io.MultiReader(strings.NewReader(in), iotest.ErrReader(broken))), framing, false)
		if _, err := io.ReadAll(&c); !errors.Is(err, broken) {
			t.Errorf("%q: %v", in, err)
		}
	}
}
