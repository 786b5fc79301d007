package client

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httputil"
	"slices"
	"strings"

	"culvert/tunnel/internal/wire"
)

// content reads the content of a refusal according to its framing (RFC 9112, section
// 6.3). Reads end at the conn's deadline.
type content struct {
	br      *bufio.Reader
	body    io.Reader
	framing wire.Framing
	err     error // why the framing is malformed; nothing is read then
}

// newContent returns the content of reply, whose head was read from br.
func newContent(br *bufio.Reader, reply *wire.Reply) *content {
	c := &content{br: br, body: br, framing: wire.Framing{Length: -1}}
	if reply.Code == http.StatusNotModified || reply.Code == http.StatusSwitchingProtocols {
		c.framing.Length, c.body = 0, strings.NewReader("")
		return c
	}
	switch c.framing, c.err = reply.Framing(); {
	case c.framing.Chunked:
		c.body = httputil.NewChunkedReader(br)
	case c.framing.Length >= 0:
		c.body = io.LimitReader(br, c.framing.Length)
	}
	return c
}

// excerpt reads the start of the content. After an error it returns what it read so far.
func (c *content) excerpt() ([]byte, error) {
	if c.err != nil {
		return nil, c.err
	}
	excerpt, err := io.ReadAll(io.LimitReader(c.body, maxExcerpt))
	if err == nil && int64(len(excerpt)) < c.framing.Length && len(excerpt) < maxExcerpt {
		err = io.ErrUnexpectedEOF
	}
	return excerpt, err
}

// ends reports whether the content has an end of its own, so that the connection may
// outlive it.
func (c *content) ends() bool { return c.err == nil && (c.framing.Chunked || c.framing.Length >= 0) }

// finish skips the rest of the content, within limits. It reports whether the content
// has ended, so that the next byte is that of another reply.
func (c *content) finish() bool {
	if !c.ends() {
		return false
	}
	if _, err := io.CopyN(io.Discard, c.body, maxLoginBody); err != io.EOF {
		return false
	}
	for read := 0; c.framing.Chunked && read < maxLoginBody; { // the trailer section
		line, err := c.br.ReadSlice('\n')
		if err != nil {
			return false
		}
		if read += len(line); len(strings.TrimRight(string(line), "\r\n")) == 0 {
			return true
		}
	}
	return !c.framing.Chunked
}

// persists reports whether the connection stays open after a reply (RFC 9112, section
// 9.3). Proxy-Connection is treated as Connection, for old proxies.
func persists(reply *wire.Reply) bool {
	var options []string
	for _, value := range append(reply.Values("Connection"), reply.Values("Proxy-Connection")...) {
		for option := range strings.SplitSeq(value, ",") {
			options = append(options, strings.ToLower(strings.TrimSpace(option)))
		}
	}
	if slices.Contains(options, "close") {
		return false
	}
	return reply.Minor >= 1 || slices.Contains(options, "keep-alive")
}
