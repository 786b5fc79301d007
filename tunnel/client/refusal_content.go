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

// content is what follows a refusal's head, read by its framing (RFC 9112,
// section 6.3), for as long as the conn's deadline lets it.
type content struct {
	br      *bufio.Reader
	body    io.Reader
	framing wire.Framing
	err     error // the framing is malformed: nothing is read by it
}

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

// excerpt reads the start, and returns what came of it even on an error.
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

// finish reads past the rest, within bounds, and reports whether the next byte
// is that of another reply.
func (c *content) finish() bool {
	if c.framing.Length < 0 && !c.framing.Chunked {
		return false // it ends with the connection
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

// persists reports whether a reply leaves its connection open (RFC 9112, section
// 9.3). Proxy-Connection counts as Connection, as old proxies mean it.
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
