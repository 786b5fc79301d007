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

// seen is a request as it came to the origin.
type originRequest struct {
	raw  string // the head, with its blank line
	body string // as it came, chunks and all
}

// values are a field's, in order.
func (s *originRequest) values(name string) (values []string) {
	for l := range strings.SplitSeq(s.raw, "\r\n") {
		if n, value, ok := strings.Cut(l, ":"); ok && strings.EqualFold(n, name) {
			values = append(values, strings.TrimSpace(value))
		}
	}
	return values
}

func (s *originRequest) has(name string) bool { return len(s.values(name)) > 0 }

// line is the request line.
func (s *originRequest) line() string {
	l, _, _ := strings.Cut(s.raw, "\r\n")
	return l
}

// originOf reads requests as they come, tells of each, and sends what answer
// returns. The connection ends behind an answer that says so, and with "".
func originOf(tell func(*originRequest), answer func(*originRequest) string) func(net.Conn) {
	return func(conn net.Conn) {
		br := bufio.NewReader(conn)
		for {
			request, err := readRequest(br)
			if err != nil {
				return
			}
			if tell != nil {
				tell(request)
			}
			reply := answer(request)
			if _, err := io.WriteString(conn, reply); err != nil || reply == "" || strings.Contains(reply, "close\r\n") {
				return
			}
		}
	}
}

// readRequest reads a head, however it is framed, and its content.
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

// oneByte reads no further than is asked for, a byte at a time.
type oneByte struct{ r io.Reader }

func (o oneByte) Read(b []byte) (int, error) { return o.r.Read(b[:min(1, len(b))]) }

// readChunks reads chunked content with its trailer section (RFC 9112, section
// 7.1), and no byte behind it.
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
