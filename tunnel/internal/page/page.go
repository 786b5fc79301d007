// Package page reads the content that proxies send: the pages of refusals, and
// pages that come instead of a tunnel. It knows the words of common products. It
// works on bytes alone, and returns text from them unescaped.
package page

import (
	"bytes"
	"fmt"
	"strings"

	"culvert/tunnel/internal/wire"
)

// Content is the content of a proxy's reply, or its start, without a content
// coding.
type Content []byte

// htmlOpenings lists the tags that pages begin with, in lower case.
var htmlOpenings = [...]string{"<!doctype", "<html", "<head", "<body", "<title", "<meta", "<script", "<style", "<h1", "<center"}

// bannerOpenings lists the greetings of servers that speak first: ssh, smtp and
// ftp, pop3, imap, vnc. Such bytes came through a tunnel, whatever the reply
// announced.
var bannerOpenings = [...]string{"SSH-", "220", "+OK", "* OK", "RFB "}

// InsteadOfTunnel says what came after the 2xx reply to a CONNECT instead of bytes
// through a tunnel, as "an HTML page"; "" = nothing that is recognized. c is what
// came unasked, received the number of bytes that came in all.
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
	// speaks first seldom sends exactly that many bytes.
	if framing, err := reply.Framing(); err == nil && framing.Length > 0 && framing.Length == int64(received) {
		return fmt.Sprintf("the content of %d bytes that Content-Length announced", framing.Length)
	}
	return ""
}

// IsHTML reports whether the content begins like an HTML page.
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

// isFurtherReply reports whether the text begins with another reply. A 408 does not
// count: an origin server at the end of the tunnel sends one unasked to a silent
// client (RFC 9110, section 15.5.9).
func isFurtherReply(text []byte) bool {
	rest, ok := bytes.CutPrefix(text, []byte("HTTP/1."))
	return ok && !(len(rest) >= 5 && string(rest[1:5]) == " 408")
}

// OddHTTP says what keeps raw from being read as a reply of HTTP/1, for example an
// empty line before it; "" if raw holds no such reply (RFC 9112, section 4).
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

// isChunkSize reports whether the line announces a chunk (RFC 9112, section 7.1).
func isChunkSize(line []byte) bool {
	size, _, _ := strings.Cut(strings.TrimRight(string(line), "\r"), ";")
	size = strings.TrimRight(size, " \t")
	return size != "" && len(size) <= 16 && strings.Trim(size, "0123456789abcdefABCDEF") == ""
}
