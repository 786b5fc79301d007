package page

import (
	"bufio"
	"strings"
	"testing"
	"unicode/utf8"

	"culvert/tunnel/internal/wire"
)

// No page makes what looks at it panic.
func FuzzPage(f *testing.F) {
	for _, text := range []string{
		"<html><head><title>No &#27;[31m &amp; &bogus; &#x110000;</title></head><body><h1>Access <b>denied</b></h1><!-- x --><script>if (a<b) {}</script><input type=password>",
		`{"error": {"message": "a\u001bb", "code": 1}}`, "<title", "<h1><", "&#", "plain words\x00", "HTTP/1.1 200 OK\r\n\r\n", "a\r\nfoo\r\n0\r\n\r\n", "\xff\xfe<\x00",
	} {
		f.Add([]byte(text), "text/html; charset=x")
	}
	reply, err := wire.ReadReply(bufio.NewReader(strings.NewReader("HTTP/1.1 503 No\r\nServer: squid\r\n\r\n")), 0)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte, kind string) {
		c := Content(text)
		c.IsHTML()
		c.IsBlockPage()
		c.IsLoginPage()
		c.InsteadOfTunnel(reply, len(text))
		OddHTTP(text)
		Product(reply, c)
		SquidCause(kind)
		BarsClient(string(text))
		if cause := c.Cause(reply); cause.Words != "" && utf8.Valid(text) && !utf8.ValidString(cause.Words) {
			t.Errorf("words %q", cause.Words)
		}
		if words := c.Text(kind); len(words) > len(text)*4 {
			t.Errorf("%d bytes of text in a page of %d", len(words), len(text))
		}
		c.Title()
	})
}
