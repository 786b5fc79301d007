package tunnel

import (
	"bytes"
	"strings"

	"culvert/tunnel/internal/wire"
)

// htmlOpenings are the tags with which pages begin, in lower case.
var htmlOpenings = [...]string{"<!doctype", "<html", "<head", "<body", "<title", "<meta", "<script", "<style", "<h1", "<center"}

// bannerOpenings are those of servers that speak first: ssh, smtp and ftp,
// pop3, imap, vnc. Such bytes are a tunnel's, whatever the reply announced.
var bannerOpenings = [...]string{"SSH-", "220", "+OK", "* OK", "RFB "}

// announced returns the length of content that a reply announces, if any.
func announced(reply *wire.Reply) (int64, bool) {
	framing, err := reply.Framing()
	return framing.Length, err == nil && framing.Length > 0
}

func isHTML(text []byte) bool {
	start := strings.ToLower(string(bytes.TrimLeft(text, " \t\r\n")[:min(16, len(bytes.TrimLeft(text, " \t\r\n")))]))
	for _, tag := range htmlOpenings {
		if strings.HasPrefix(start, tag) {
			return true
		}
	}
	return false
}

// isFurtherReply leaves 408 out: an origin server at the end of the tunnel
// sends that by itself to a client that is silent (RFC 9110, section 15.5.9).
func isFurtherReply(text []byte) bool {
	rest, ok := bytes.CutPrefix(text, []byte("HTTP/1."))
	return ok && !(len(rest) >= 5 && string(rest[1:5]) == " 408")
}

// oddHTTP says what stands in the way of reading HTTP from bytes that begin no
// reply, "" if they are none (RFC 9112, section 4).
func oddHTTP(raw []byte) string {
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

// isChunkSize reports whether the line is that of a chunk (RFC 9112, section
// 7.1).
func isChunkSize(line []byte) bool {
	size, _, _ := strings.Cut(strings.TrimRight(string(line), "\r"), ";")
	size = strings.TrimRight(size, " \t")
	return size != "" && len(size) <= 16 && strings.Trim(size, "0123456789abcdefABCDEF") == ""
}
