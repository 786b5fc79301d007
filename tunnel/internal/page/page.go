// Package page reads what proxies send as content: the pages of refusals, and those
// that come instead of a tunnel. It knows the words of common products.
package page

import (
	"bytes"
	"fmt"
	"strings"

	"culvert/tunnel/internal/wire"
)

// Content is the content of a proxy's reply, without a content coding: the
// whole of it, or its start.
type Content []byte

// htmlOpenings are the tags with which pages begin, in lower case.
var htmlOpenings = [...]string{"<!doctype", "<html", "<head", "<body", "<title", "<meta", "<script", "<style", "<h1", "<center"}

// bannerOpenings are those of servers that speak first: ssh, smtp and ftp,
// pop3, imap, vnc. Such bytes are a tunnel's, whatever the reply announced.
var bannerOpenings = [...]string{"SSH-", "220", "+OK", "* OK", "RFB "}

// InsteadOfTunnel says what came after the 2xx reply to a CONNECT instead of a
// tunnel's bytes, as "an HTML page"; "" = nothing that is known. The content is
// what came unasked, received the number of bytes that came in all.
func (c Content) InsteadOfTunnel(reply *wire.Reply, received int) string {
	text := Content(bytes.TrimLeft(c, " \t\r\n"))
	if len(text) == 0 {
		return ""
	}
	for _, banner := range bannerOpenings {
		if bytes.HasPrefix(text, []byte(banner)) {
			return ""
		}
	}
	chunked := wire.HasToken(reply.Values("Transfer-Encoding"), "chunked")
	if size, rest, ok := bytes.Cut(text, []byte("\n")); ok && chunked && isChunkSize(size) {
		if Content(rest).IsHTML() {
			return "an HTML page in chunks"
		}
		return "content in chunks"
	}
	switch {
	case text.IsHTML():
		return "an HTML page"
	case isFurtherReply(text):
		return "a further HTTP reply"
	}
	// RFC 9110, section 9.3.6: Content-Length in a 2xx is ignored. A target that
	// speaks first seldom says just as many bytes and no more.
	if framing, err := reply.Framing(); err == nil && framing.Length > 0 && framing.Length == int64(received) {
		return fmt.Sprintf("the content of %d bytes that Content-Length announced", framing.Length)
	}
	return ""
}

// IsHTML reports whether the content begins as a page of HTML does.
func (c Content) IsHTML() bool {
	text := bytes.TrimLeft(c, " \t\r\n")
	start := strings.ToLower(string(text[:min(16, len(text))]))
	for _, tag := range htmlOpenings {
		if strings.HasPrefix(start, tag) {
			return true
		}
	}
	return false
}

// isFurtherReply reports whether the text begins another reply. A 408 does not
// count: an origin server at the end of the tunnel sends that by itself to a client
// that is silent (RFC 9110, section 15.5.9).
func isFurtherReply(text []byte) bool {
	rest, ok := bytes.CutPrefix(text, []byte("HTTP/1."))
	return ok && !(len(rest) >= 5 && string(rest[1:5]) == " 408")
}

// OddHTTP says what keeps a reply of HTTP/1 from being read as one, as an empty
// line before it; "" = the bytes are something else (RFC 9112, section 4).
func OddHTTP(raw []byte) string {
	for _, odd := range [...]struct{ before, words string }{
		{"\r\n", "an empty line stands before the status line"},
		{"\n", "an empty line stands before the status line"},
		{"\xef\xbb\xbf", "a byte order mark stands before the status line"},
		{"", "HTTP stands in other letters than capitals in the status line"},
	} {
		rest, ok := bytes.CutPrefix(raw, []byte(odd.before))
		if ok && len(rest) > 7 && bytes.EqualFold(rest[:7], []byte("HTTP/1.")) {
			return odd.words
		}
	}
	return ""
}

// isChunkSize reports whether the line is that before a chunk (RFC 9112, section
// 7.1).
func isChunkSize(line []byte) bool {
	size, _, _ := strings.Cut(strings.TrimRight(string(line), "\r"), ";")
	size = strings.TrimRight(size, " \t")
	return size != "" && len(size) <= 16 && strings.Trim(size, "0123456789abcdefABCDEF") == ""
}
