package audit

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
)

// originRequest is a request as the origin received it.
type originRequest struct {
	raw  string // the head, with its blank line
	body string // the content as it came, with the framing of chunks
}

// values returns the values of a field, in order.
func (s *originRequest) values(name string) (values []string) {
	for l := range strings.SplitSeq(s.raw, "\r\n") {
		if n, value, ok := strings.Cut(l, ":"); ok && strings.EqualFold(n, name) {
			values = append(values, strings.TrimSpace(value))
		}
	}
	return values
}

func (s *originRequest) has(name string) bool { return len(s.values(name)) > 0 }

// line returns the request line.
func (s *originRequest) line() string {
	l, _, _ := strings.Cut(s.raw, "\r\n")
	return l
}

// originOf returns an origin server for target.serve. It reads requests, calls report
// with each unless that is nil, and sends what answer returns. After an answer that is
// "" or says close, it closes the connection.
func originOf(report func(*originRequest), answer func(*originRequest) string) func(net.Conn) {
	return func(conn net.Conn) {
		br := bufio.NewReader(conn)
		for {
			request, err := readRequest(br)
			if err != nil {
				return
			}
			if report != nil {
				report(request)
			}
			reply := answer(request)
			if _, err := io.WriteString(conn, reply); err != nil || reply == "" || strings.Contains(reply, "close\r\n") {
				return
			}
		}
	}
}

// readRequest reads a request head with any line endings, and the content.
func readRequest(br *bufio.Reader) (*originRequest, error) {
	s := &originRequest{}
	for len(s.raw) < 1<<20 {
		l, err := br.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if s.raw += l; strings.TrimRight(l, "\r\n") == "" {
			break
		}
	}
	switch length := s.values("Content-Length"); {
	case s.has("Transfer-Encoding"):
		var raw bytes.Buffer
		_, err := readChunks(bufio.NewReaderSize(io.TeeReader(oneByte{br}, &raw), 16))
		s.body = raw.String()
		return s, err
	case len(length) > 0:
		n, err := strconv.Atoi(length[0])
		if err != nil || n > 1<<20 {
			return s, errors.New("a length that the origin does not take")
		}
		b := make([]byte, n)
		_, err = io.ReadFull(br, b)
		s.body = string(b)
		return s, err
	}
	return s, nil
}

// oneByte reads one byte at a time, so that no more is consumed than is asked for.
type oneByte struct{ r io.Reader }

func (o oneByte) Read(b []byte) (int, error) { return o.r.Read(b[:min(1, len(b))]) }

// readChunks reads chunked content with its trailer section (RFC 9112, section 7.1),
// and no further.
func readChunks(br *bufio.Reader) (content []byte, err error) {
	for len(content) < 1<<20 {
		l, err := br.ReadString('\n')
		if err != nil {
			return content, err
		}
		size, _, _ := strings.Cut(strings.TrimSpace(l), ";")
		n, err := strconv.ParseUint(size, 16, 20)
		if err != nil {
			return content, errors.New("a chunk's size is malformed")
		}
		if n == 0 {
			for {
				if l, err = br.ReadString('\n'); err != nil || strings.TrimSpace(l) == "" {
					return content, err
				}
			}
		}
		chunk := make([]byte, n+2)
		if _, err := io.ReadFull(br, chunk); err != nil {
			return content, err
		}
		content = append(content, chunk[:n]...)
	}
	return content, errors.New("content without end")
}
