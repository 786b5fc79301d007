package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

const fuzzLimit = 4 << 10

// checkRead reads in twice, at once and byte by byte, and checks the properties that
// hold for every input. It returns nil if the head was refused.
func checkRead[T any](t *testing.T, in []byte, read func(*bufio.Reader, int) (*T, error), raw func(*T) []byte) *T {
	t.Helper()
	br := bufio.NewReader(bytes.NewReader(in))
	message, err := read(br, fuzzLimit)
	again, againErr := read(bufio.NewReaderSize(iotest.OneByteReader(bytes.NewReader(in)), 16), fuzzLimit)
	if !reflect.DeepEqual(message, again) {
		t.Fatalf("whole %+v, byte by byte %+v", message, again)
	}
	if err != nil {
		checkError(t, in, err, againErr)
		return nil
	}
	rest, _ := io.ReadAll(br)
	head := raw(message)
	if len(head) > fuzzLimit || !bytes.Equal(append(bytes.Clone(head), rest...), in) {
		t.Fatalf("Raw %q and the rest %q are not the input", head, rest)
	}
	reread, err := read(bufio.NewReader(bytes.NewReader(head)), fuzzLimit)
	if err != nil || !reflect.DeepEqual(message, reread) {
		t.Fatalf("Raw reads as %+v, %v", reread, err)
	}
	return message
}

func checkError(t *testing.T, in []byte, err, again error) {
	t.Helper()
	var e, f *HeadError
	if !errors.As(err, &e) {
		if err != io.EOF || len(in) > 0 || again != io.EOF {
			t.Fatalf("error %v for %d bytes", err, len(in))
		}
		return
	}
	if !errors.As(again, &f) || e.Problem != f.Problem || e.Flaw != f.Flaw || e.Detail != f.Detail {
		t.Fatalf("whole %v, byte by byte %v", err, again)
	}
	if e.Detail == "" || len(e.Raw) > fuzzLimit || !bytes.HasPrefix(in, e.Raw) {
		t.Fatalf("Detail %q, Raw of %d bytes", e.Detail, len(e.Raw))
	}
	if e.Flaw.Kind != NoFlaw && e.Flaw.Offset >= len(e.Raw) {
		t.Fatalf("flaw at %d behind Raw of %d bytes", e.Flaw.Offset, len(e.Raw))
	}
}

func FuzzReadRequest(f *testing.F) {
	for _, s := range messages {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		q := checkRead(t, in, ReadRequest, func(q *Request) []byte { return q.Raw })
		if q == nil {
			return
		}
		for _, flaw := range q.Flaws {
			if !flaw.Kind.tolerable() || flaw.Offset >= len(q.Raw) {
				t.Fatalf("accepted with %q at %d", flaw.Kind, flaw.Offset)
			}
		}
		compareFields(t, &q.Head)
		head := q.Raw[bytes.Index(q.Raw, []byte(q.Line)):]
		std, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
		if err != nil {
			return // net/http checks the target and Host too
		}
		if std.Method != q.Method || std.RequestURI != q.Target || min(std.ProtoMinor, 1) != q.Minor {
			t.Fatalf("net/http reads %q %q %q, we %q %q 1.%d", std.Method, std.RequestURI, std.Proto, q.Method, q.Target, q.Minor)
		}
		// Neither may panic.
		_ = q.CheckHost()
		_, _ = q.Framing()
	})
}

// compareFields checks that the reader of the standard library finds the same fields in
// a strict head.
func compareFields(t *testing.T, h *Head) {
	t.Helper()
	_, fields, _ := strings.Cut(string(h.Raw[bytes.Index(h.Raw, []byte(h.Line)):]), "\n")
	std, err := textproto.NewReader(bufio.NewReader(strings.NewReader(fields))).ReadMIMEHeader()
	if err != nil {
		t.Fatalf("net/textproto refuses %q: %v", fields, err)
	}
	ours := textproto.MIMEHeader{}
	for _, field := range h.Fields {
		ours.Add(field.Name, field.Value)
	}
	if !reflect.DeepEqual(ours, std) {
		t.Fatalf("net/textproto reads %q, we %q", std, ours)
	}
}

func FuzzReadReply(f *testing.F) {
	for _, s := range messages {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		p := checkRead(t, in, ReadReply, func(p *Reply) []byte { return p.Raw })
		if p == nil {
			return
		}
		if p.Code < 100 || p.Code > 999 || p.Minor < 0 || p.Minor > 1 || strings.ContainsAny(p.Reason, "\r\n\x00") {
			t.Fatalf("code %d, minor %d, reason %q", p.Code, p.Minor, p.Reason)
		}
		for _, field := range p.Fields {
			if field.Name == "" || strings.ContainsAny(field.Name+field.Value, "\r\n\x00") || trimOWS(field.Value) != field.Value {
				t.Fatalf("field %q", field)
			}
		}
		seen := map[FlawKind]bool{}
		for _, flaw := range p.Flaws {
			if seen[flaw.Kind] || flaw.Offset < 0 || flaw.Offset >= len(p.Raw) {
				t.Fatalf("flaw %q at %d, twice or outside", flaw.Kind, flaw.Offset)
			}
			seen[flaw.Kind] = true
		}
		_, _ = p.Framing()
	})
}

func FuzzEscape(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 \x1b[31m\r\n\t\\x00"), 0)
	f.Add([]byte("abc\x00def"), 6)
	f.Fuzz(func(t *testing.T, in []byte, limit int) {
		text := Escape(in, limit)
		for i := range len(text) {
			if text[i] < ' ' || text[i] > '~' {
				t.Fatalf("byte %#x in %q", text[i], text)
			}
		}
		if limit > 0 && len(text)-len("...") > limit {
			t.Fatalf("%d bytes of text, limit %d", len(text), limit)
		}
		whole := Escape(in, 0)
		if cut, ok := strings.CutSuffix(text, "..."); text != whole && (!ok || !strings.HasPrefix(whole, cut)) {
			t.Fatalf("%q is not %q cut", text, whole)
		}
		if got := unescape(t, whole); !bytes.Equal(got, in) {
			t.Fatalf("%q stands for %q, not %q", whole, got, in)
		}
	})
}

// unescape is the inverse of Escape without a limit.
func unescape(t *testing.T, s string) (b []byte) {
	t.Helper()
	const digits = "0123456789abcdef"
	plain := map[byte]byte{'r': '\r', 'n': '\n', 't': '\t', '\\': '\\'}
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b = append(b, s[i])
			continue
		}
		i++
		if s[i] == 'x' {
			b = append(b, byte(strings.IndexByte(digits, s[i+1])<<4|strings.IndexByte(digits, s[i+2])))
			i += 2
			continue
		}
		c, ok := plain[s[i]]
		if !ok {
			t.Fatalf("escape %q in %q", s[i], s)
		}
		b = append(b, c)
	}
	return b
}

// Content means what net/http reads in it, whenever both accept it; where net/http
// refuses, so does Content.
func FuzzContent(f *testing.F) {
	for _, s := range []string{"5\r\nhello\r\n0\r\n\r\n", "5;a=b\r\nhello\r\n00\r\nX: 1\r\n\r\nGET", "5  \r\nhello\r\n0\r\n\r\n", "5\nhello\n0\n\n", "5\r\nhellox0\r\n\r\n",
		"1;\"\r\n\"\r\nx\r\n0\r\n\r\n", "0\r\nContent-Length: 1\r\n\r\n", "fffffffffffffffff\r\n", "1\r\nx\r\n0\r\nX : 1\r\nY\r\n\r\n"} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, in []byte, request bool) {
		read := func(r io.Reader, size int) (content []byte, c Content, err error) {
			c.Reset(bufio.NewReaderSize(r, size), Framing{Length: -1, Chunked: true}, request)
			content, err = io.ReadAll(&c)
			return content, c, err
		}
		content, c, err := read(bytes.NewReader(in), 64<<10)
		again, c2, againErr := read(iotest.OneByteReader(bytes.NewReader(in)), 64<<10)
		if !bytes.Equal(content, again) || !reflect.DeepEqual(c.Trailer(), c2.Trailer()) || (err == nil) != (againErr == nil) {
			t.Fatalf("whole %q, %v; byte by byte %q, %v", content, err, again, againErr)
		}
		q, _ := http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"), bytes.NewReader(in))))
		std, stdErr := io.ReadAll(q.Body)
		switch {
		case err != nil || !request && stdErr != nil:
			return
		case stdErr != nil && !strings.Contains(stdErr.Error(), "trailer"):
			t.Fatalf("we read %q, net/http refuses: %v", content, stdErr)
		case stdErr == nil && !bytes.Equal(content, std):
			t.Fatalf("we read %q, net/http %q", content, std)
		}
	})
}

// A reply's content is framed as net/http frames it, whenever both accept the head.
func FuzzContentFraming(f *testing.F) {
	for _, s := range messages {
		f.Add([]byte(s), "GET")
		f.Add([]byte(s), "HEAD")
	}
	f.Fuzz(func(t *testing.T, in []byte, method string) {
		if method != "HEAD" {
			method = "GET"
		}
		p, err := ReadReply(bufio.NewReader(bytes.NewReader(in)), fuzzLimit)
		if err != nil || p.Code < 200 {
			return
		}
		framing, err := p.ContentFraming(method)
		if err != nil {
			return
		}
		std, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(in)), &http.Request{Method: method})
		if err != nil {
			return
		}
		length := framing.Length
		switch {
		case framing.UntilClose || framing.Chunked:
			length = -1
		case method == "HEAD": // net/http tells what it would be
			return
		}
		if chunked := len(std.TransferEncoding) > 0; length != std.ContentLength || chunked != framing.Chunked {
			t.Fatalf("net/http: length %d, chunked %v; we %+v", std.ContentLength, chunked, framing)
		}
	})
}
