package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

// messages are valid and invalid heads with bytes behind them. The result must not
// depend on the pieces in which they are received.
var messages = []string{
	"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\nearly\r\n\r\n",
	"CONNECT a:1 HTTP/1.0\n\nearly",
	"\r\nGET / HTTP/1.1\r\nA: b\r\n\r\n",
	"\r\n\r\nGET / HTTP/1.1\r\n\r\n",
	"GET / HTTP/1.1\r\nA: b\n\r\n",
	"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
	"GET / HTTP/1.1\r\nA: \x00\r\nB\r\n\r\n",
	"GET \rx HTTP/1.1\r\n\r\n",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"\x16\x03\x01\x00",
	"\x16\x00",
	"SSH-2.0-OpenSSH_10.0\r\n",
	"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\nSSH-2.0\r\n\r\n",
	"HTTP/1.0\t200\nA : b\n c\rd\n: g\nh\n\nbehind",
	"HTTP/1.1 099 OK\r\n\r\n",
	"HTTP/1.1 200 \x00 OK\r\n\r\n",
	"HTTP/1.1 200 OK\r\nA: b",
	"HTTQ/1.1 200 OK\r\n\r\n",
	"\x15\x03\x01",
}

// outcome is the result of reading a head in a comparable form.
type outcome struct {
	message any
	problem Problem
	flaw    Flaw
	detail  string
	rest    string // left in the reader behind a good head
}

func outcomeOf[T any](t *testing.T, br *bufio.Reader, read func(*bufio.Reader, int) (*T, error)) outcome {
	t.Helper()
	message, err := read(br, 0)
	if err != nil {
		e := headError(t, err)
		return outcome{problem: e.Problem, flaw: e.Flaw, detail: e.Detail}
	}
	rest, err := io.ReadAll(br)
	if err != nil {
		t.Fatal(err)
	}
	return outcome{message: *message, rest: string(rest)}
}

// fragments returns readers that return s in two pieces, cut at every place, and byte by
// byte.
func fragments(s string) []io.Reader {
	readers := []io.Reader{iotest.OneByteReader(strings.NewReader(s)), iotest.DataErrReader(strings.NewReader(s))}
	for i := 1; i < len(s); i++ {
		readers = append(readers, io.MultiReader(strings.NewReader(s[:i]), strings.NewReader(s[i:])))
	}
	return readers
}

func testFragments[T any](t *testing.T, read func(*bufio.Reader, int) (*T, error)) {
	for _, s := range messages {
		want := outcomeOf(t, bufio.NewReader(strings.NewReader(s)), read)
		for _, size := range []int{16, 4096} {
			for i, r := range fragments(s) {
				if got := outcomeOf(t, bufio.NewReaderSize(r, size), read); !reflect.DeepEqual(got, want) {
					t.Errorf("%q, fragmentation %d, buffer of %d:\n got %+v\nwant %+v", s, i, size, got, want)
				}
			}
		}
	}
}

func TestRequestReadsTheSameInAnyPieces(t *testing.T) { testFragments(t, ReadRequest) }

func TestReplyReadsTheSameInAnyPieces(t *testing.T) { testFragments(t, ReadReply) }

// blocked fails the test if it is read: the bytes before it were enough.
type blocked struct{ t *testing.T }

func (b blocked) Read([]byte) (int, error) {
	b.t.Error("the head was decided, but more was waited for")
	return 0, io.ErrClosedPipe
}

func TestDecidesWithoutWaiting(t *testing.T) {
	request := func(br *bufio.Reader) error { _, err := ReadRequest(br, 100); return err }
	reply := func(br *bufio.Reader) error { _, err := ReadReply(br, 100); return err }
	const line = "GET / HTTP/1.1\r\n"
	for _, tt := range []struct {
		name, in string
		read     func(*bufio.Reader) error
		problem  Problem // 0 = a good head
	}{
		{"request", line + "\r\n", request, 0},
		{"request: TLS", "\x16\x03", request, NotHTTP},
		{"request: SOCKS", "\x05", request, NotHTTP},
		{"request: first byte", "\x80", request, NotHTTP},
		{"request: control character in the method", "GE\x01", request, Malformed},
		{"request: method too long", strings.Repeat("M", 33), request, Malformed},
		{"request: bare CR", "GET /\rx", request, Malformed},
		{"request: high byte in the target", "GET /\xff", request, Malformed},
		{"request: two empty lines", "\r\n\r\n", request, Malformed},
		{"request: HTTP/2 preface", "PRI * HTTP/2.0\r\n", request, BadVersion},
		{"request: HTTP/0.9", "GET /\r\n", request, Malformed},
		{"request: lone LF and CR LF", line + "A: b\n", request, Malformed},
		{"request: NUL in a field", line + "A: \x00", request, Malformed},
		{"request: endless line", "GET /" + strings.Repeat("x", 95), request, TargetTooLong},
		{"request: endless target of CONNECT", "CONNECT " + strings.Repeat("x", 92), request, TargetTooLong},
		{"request: endless fields", line + strings.Repeat("A: b\r\n", 14), request, TooLarge},
		{"reply", "HTTP/1.1 200 OK\r\n\r\n", reply, 0},
		{"reply: first byte", "S", reply, NotHTTP},
		{"reply: fifth byte", "HTTP ", reply, NotHTTP},
		{"reply: TLS alert", "\x15\x03", reply, NotHTTP},
		{"reply: absurd status", "HTTP/1.1 0\r\n", reply, Malformed},
		{"reply: NUL", "HTTP/1.1 200 \x00", reply, Malformed},
		{"reply: endless line", "HTTP/1.1 200 " + strings.Repeat("x", 87), reply, TooLarge},
		{"reply: endless fields", "HTTP/1.1 200 O\r\n" + strings.Repeat("A: b\r\n", 14), reply, TooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := io.MultiReader(iotest.OneByteReader(strings.NewReader(tt.in)), blocked{t})
			err := tt.read(bufio.NewReaderSize(r, 16))
			if tt.problem == 0 {
				if err != nil {
					t.Fatal(err)
				}
			} else if e := headError(t, err); e.Problem != tt.problem {
				t.Errorf("got %v, want %v", e, tt.problem)
			}
		})
	}
}

func TestNothingArrived(t *testing.T) {
	for _, want := range []error{io.EOF, os.ErrDeadlineExceeded, io.ErrClosedPipe} {
		if _, err := ReadRequest(bufio.NewReader(iotest.ErrReader(want)), 0); err != want {
			t.Errorf("ReadRequest = %v, want %v as it was", err, want)
		}
		if _, err := ReadReply(bufio.NewReader(iotest.ErrReader(want)), 0); err != want {
			t.Errorf("ReadReply = %v, want %v as it was", err, want)
		}
	}
}

func TestReadErrorWithinTheHead(t *testing.T) {
	for _, tt := range []struct{ err, want error }{
		{io.EOF, io.ErrUnexpectedEOF},
		{os.ErrDeadlineExceeded, os.ErrDeadlineExceeded},
		{io.ErrClosedPipe, io.ErrClosedPipe},
	} {
		r := io.MultiReader(strings.NewReader("HTTP/1.1 200 OK\r\n"), iotest.ErrReader(tt.err))
		_, err := ReadReply(bufio.NewReader(r), 0)
		e := headError(t, err)
		if e.Problem != Truncated || !errors.Is(err, tt.want) || string(e.Raw) != "HTTP/1.1 200 OK\r\n" {
			t.Errorf("%v: got %v, Raw %q", tt.err, err, e.Raw)
		}
	}
}

func TestLimitCountsTheBlankLine(t *testing.T) {
	const head = "\r\nGET / HTTP/1.1\r\nA: b\r\n\r\n"
	if _, err := ReadRequest(bufio.NewReader(strings.NewReader(head)), len(head)); err != nil {
		t.Errorf("a head as long as the limit: %v", err)
	}
	_, err := ReadRequest(bufio.NewReader(strings.NewReader(head)), len(head)-1)
	if e := headError(t, err); e.Problem != TooLarge {
		t.Errorf("one byte more: %v, want too large", e)
	}
}

func TestDefaultLimit(t *testing.T) {
	source := &endless{}
	_, err := ReadReply(bufio.NewReader(source), 0)
	e := headError(t, err)
	if e.Problem != TooLarge || len(e.Raw) != maxExcerpt {
		t.Errorf("got %v, Raw of %d bytes", e, len(e.Raw))
	}
	if source.read > DefaultMaxHead+4096 {
		t.Errorf("%d bytes of an endless head were read", source.read)
	}
}

// endless is a reply head without end. It counts the bytes that were read.
type endless struct{ read int }

func (r *endless) Read(p []byte) (int, error) {
	n := copy(p, "HTTP/1.1 200 OK\r\n"[min(r.read, 17):])
	for i := n; i < len(p); i++ {
		p[i] = 'x'
	}
	r.read += len(p)
	return len(p), nil
}

func TestNotHTTPShowsWhatIsThere(t *testing.T) {
	page := "<html>\n" + strings.Repeat("x", 2000)
	_, _, err := readReply(page)
	if e := headError(t, err); string(e.Raw) != page[:maxExcerpt] {
		t.Errorf("Raw = %q, want the first KiB", e.Raw)
	}
	_, _, err = readReply("SSH-2.0-OpenSSH_10.0\r\nmore")
	if e := headError(t, err); string(e.Raw) != "SSH-2.0-OpenSSH_10.0\r\nmore" {
		t.Errorf("Raw = %q, want all there was", e.Raw)
	}
}

func TestReadsHeadAfterHead(t *testing.T) {
	const interim, final = "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"
	br := bufio.NewReaderSize(strings.NewReader(interim+final+"SSH"), 16)
	var raw bytes.Buffer
	for _, want := range []int{103, 200} {
		p, err := ReadReply(br, 0)
		if err != nil || p.Code != want {
			t.Fatalf("got %v, %v; want code %d", p, err, want)
		}
		raw.Write(p.Raw)
	}
	rest, _ := io.ReadAll(br)
	if raw.String() != interim+final || string(rest) != "SSH" {
		t.Errorf("Raw %q, left %q", raw.String(), rest)
	}
}
