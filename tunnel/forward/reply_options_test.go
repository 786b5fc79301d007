package forward

import (
	"strings"
	"testing"
)

// The options are those of the final head, however it is divided into reads, and not of
// bytes behind it.
func TestReplyOptionsInPieces(t *testing.T) {
	const text = "HTTP/1.1 103 Early\r\nConnection: x-early\r\n\r\nHTTP/1.1 200 OK\r\nConnection: close, X-A\r\nX-Connection: x-no\r\nCONNECTION:x-b\r\n\r\nConnection: x-body\r\n\r\n"
	for size := 1; size <= len(text); size++ {
		var o replyOptions
		for rest := text; rest != ""; rest = rest[min(size, len(rest)):] {
			o.scan([]byte(rest[:min(size, len(rest))]))
		}
		if got := strings.Join(o.values, "|"); got != " close, X-A|x-b" {
			t.Fatalf("in pieces of %d: %q", size, got)
		}
	}
	var o replyOptions
	for range 100 {
		o.scan([]byte(strings.Repeat("a", 1000)))
	}
	if len(o.line) > maxOptionLine {
		t.Errorf("%d bytes of a line are kept", len(o.line))
	}
}
