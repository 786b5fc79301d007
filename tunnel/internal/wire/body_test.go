package wire

import (
	"bufio"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

func TestBody(t *testing.T) {
	const next = "GET / HTTP/1.1\r\n"
	long := strings.Repeat("x", 5000) // more than a bufio.Reader holds
	for name, tt := range map[string]struct {
		framing   Framing
		announced []string
		in        string
		content   string
		err       string // "" = all went well, and next follows
		trailer   http.Header
	}{
		"length":                   {Framing{Length: 5}, nil, "hello" + next, "hello", "", nil},
		"no content":               {Framing{Length: 0}, nil, next, "", "", nil},
		"no framing":               {Framing{Length: -1}, nil, next, "", "", nil},
		"long":                     {Framing{Length: 5000}, nil, long + next, long, "", nil},
		"cut short":                {Framing{Length: 5}, nil, "hell", "hell", "unexpected EOF", nil},
		"announced, not chunked":   {Framing{Length: 1}, []string{"Content-Length"}, "x" + next, "x", "", nil},
		"chunked":                  {Framing{Chunked: true}, nil, "5\r\nhello\r\n0\r\n\r\n" + next, "hello", "", http.Header{}},
		"chunk extensions":         {Framing{Chunked: true}, nil, "5;a=b\r\nhello\r\n1\r\n!\r\n0;z\r\n\r\n" + next, "hello!", "", http.Header{}},
		"no chunk":                 {Framing{Chunked: true}, nil, "0\r\n\r\n" + next, "", "", http.Header{}},
		"trailer":                  {Framing{Chunked: true}, nil, "1\r\nx\r\n0\r\nx-sum: 1\r\nX-Sum: 2\r\n\r\n" + next, "x", "", http.Header{"X-Sum": {"1", "2"}}},
		"announced":                {Framing{Chunked: true}, []string{"x-sum, X-None", "x-more,"}, "0\r\nX-Sum: 1\r\n\r\n" + next, "", "", http.Header{"X-Sum": {"1"}, "X-None": nil, "X-More": nil}},
		"announced framing":        {Framing{Chunked: true}, []string{"X-Sum, content-length"}, "", "", "a trailer section cannot hold Content-Length", nil},
		"chunk cut short":          {Framing{Chunked: true}, nil, "5\r\nhell", "hell", "unexpected EOF", http.Header{}},
		"between chunks":           {Framing{Chunked: true}, nil, "5\r\nhello\r\n", "hello", "unexpected EOF", http.Header{}},
		"trailer cut short":        {Framing{Chunked: true}, nil, "0\r\n\r", "", "the trailer section is cut short", http.Header{}},
		"trailer without its end":  {Framing{Chunked: true}, nil, "0\r\nX-Sum: 1\r\n", "", "the trailer section is too long", http.Header{}},
		"long trailer":             {Framing{Chunked: true}, nil, "0\r\nX-Sum: " + long + "\r\n\r\n", "", "the trailer section is too long", http.Header{}},
		"bad chunk":                {Framing{Chunked: true}, nil, "five\r\nhello\r\n", "", "invalid byte in chunk length", http.Header{}},
		"trailer that is no field": {Framing{Chunked: true}, nil, "0\r\nno field\r\n\r\n", "", "malformed MIME header", http.Header{}},
	} {
		for pieces, cut := range map[string]func(io.Reader) io.Reader{
			"at once": func(r io.Reader) io.Reader { return r }, "in pieces": iotest.OneByteReader, "EOF along with data": iotest.DataErrReader,
		} {
			t.Run(name+" "+pieces, func(t *testing.T) {
				br := bufio.NewReaderSize(cut(strings.NewReader(tt.in)), 4096)
				body, err := NewBody(br, tt.framing, tt.announced)
				var content []byte
				if err == nil {
					content, err = io.ReadAll(body)
				}
				got := ""
				if err != nil {
					got = err.Error()
				}
				if string(content) != tt.content || !strings.HasPrefix(got, tt.err) || (got == "") != (tt.err == "") {
					t.Fatalf("read %q and %q, want %q and %q", content, got, tt.content, tt.err)
				}
				if body == nil {
					return
				}
				if !reflect.DeepEqual(body.Trailer, tt.trailer) {
					t.Errorf("the trailer is %v, want %v", body.Trailer, tt.trailer)
				}
				if n, again := body.Read(make([]byte, 1)); n != 0 || again == nil {
					t.Errorf("a further read: %d, %v", n, again)
				}
				if rest, _ := io.ReadAll(br); err == nil && string(rest) != next {
					t.Errorf("%q was left for the next request, want %q", rest, next)
				}
			})
		}
	}
}

// io.EOF comes with the last bytes, so that a transport need not read again.
func TestBodyEndsWithItsLastByte(t *testing.T) {
	body, err := NewBody(bufio.NewReader(strings.NewReader("hello")), Framing{Length: 5}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := body.Read(make([]byte, 9)); n != 5 || err != io.EOF {
		t.Errorf("read %d, %v, want 5 and io.EOF", n, err)
	}
}
