package audit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/explain"
	"culvert/tunnel/internal/wire"
)

const h2Rule = "RFC 9113, section 8.5"

// overHTTP2 is about CONNECT in streams of HTTP/2, if the proxy offers that.
var overHTTP2 = []check{
	{"h2-tunnel", "a stream carries bytes both ways", h2Rule, must, needHTTP2, func(t *trial) {
		t.target.serve(echo)
		t.stream().wantEcho("ping")
	}},
	{"h2-greeting", "a target that speaks first is heard at once", h2Rule, must, needHTTP2, func(t *trial) {
		t.target.serve(func(conn net.Conn) {
			_, _ = io.WriteString(conn, "hello")
			echo(conn)
		})
		t.stream().wantRead("hello")
	}},
	{"h2-bulk", "many bytes down a stream arrive unchanged", h2Rule, must, needHTTP2, h2Bulk},
	{"h2-bulk-up", "many bytes up a stream arrive unchanged", h2Rule, must, needHTTP2, h2BulkUp},
	{"h2-end-up", "END_STREAM is the client's end of file", h2Rule, must, needHTTP2, func(t *trial) {
		got := make(chan string, 1)
		t.target.serve(func(conn net.Conn) {
			all, err := io.ReadAll(conn)
			offer(got, describeRead(all, err))
		})
		s := t.stream()
		_, _ = io.WriteString(s.conn, "last words")
		_ = s.conn.CloseWrite()
		if have := t.await(got, t.Patience); have != `"last words"` {
			t.fail(`sent was "last words", then END_STREAM; the target got %s`, have)
		}
	}},
	{"h2-answer-after-end", "the target may answer after END_STREAM", h2Rule, policyLevel, needHTTP2, func(t *trial) {
		t.target.serve(countBytes)
		s := t.stream()
		_, _ = io.WriteString(s.conn, "question")
		_ = s.conn.CloseWrite()
		s.wantRead("8 bytes\n")
	}},
	{"h2-end-down", "the target's end of file is END_STREAM", h2Rule, must, needHTTP2, func(t *trial) {
		t.target.serve(func(conn net.Conn) {
			_, _ = io.WriteString(conn, "last words")
			closeWrite(conn)
			_, _ = io.Copy(io.Discard, conn)
		})
		got, err := io.ReadAll(t.stream().conn)
		if string(got) != "last words" || err != nil {
			t.fail("%s came", describeRead(got, err))
		}
	}},
	{"h2-reset", "a target's reset is a stream error, not an end of file", h2Rule, must, needHTTP2, func(t *trial) {
		t.target.serve(func(conn net.Conn) { _, _ = conn.Read(make([]byte, 1)); reset(conn) })
		s := t.stream()
		_, _ = io.WriteString(s.conn, "x")
		if _, err := io.ReadAll(s.conn); err == nil {
			t.fail("the stream ended as if all had come")
		}
	}},
	{"h2-refusal-alone", "a refused stream does not disturb the others", h2Rule, must, needHTTP2, h2RefusalAlone},
	{"h2-2xx-length", "the 2xx of a stream has no Content-Length", connectRule, must, needHTTP2, h2Lacks("content-length")},
	{"h2-2xx-fields", "the 2xx of a stream has no field of a connection's", "RFC 9113, section 8.2.2", must, needHTTP2, h2Lacks("connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade")},
	{"h2-scheme-path", "a CONNECT with :scheme and :path is malformed", h2Rule, must, needHTTP2, h2Malformed(field(":scheme", "http"), field(":path", "/"), authority("{target}"))},
	{"h2-no-authority", "a CONNECT without :authority is malformed", h2Rule, must, needHTTP2, h2Malformed()},
	{"h2-no-port", "an :authority without a port is refused", connectRule, must, needHTTP2, h2Malformed(authority("{host}"))},
	{"h2-407", "credentials are asked for by 407 and Proxy-Authenticate", "RFC 9110, section 15.5.8", must, needHTTP2, h2Asks407},
	{"h2-parallel", "32 streams at once keep their bytes apart", h2Rule, policyLevel, needHTTP2, h2Parallel},
}

// streams is a tunnel of a check over HTTP/2, and the Client that opened it.
type streams struct {
	*trial
	client *client.Client
	conn   *client.Conn
}

// stream opens a tunnel to the target over HTTP/2, on a connection of its own.
func (t *trial) stream() *streams {
	s := &streams{trial: t, client: t.http2Client()}
	t.client, t.frameLog = s.client, &frameLog{}
	s.client.Trace = &client.Trace{Framed: t.frameLog.add}
	s.conn = s.open()
	return s
}

// frameLog keeps a line of text for each frame of a connection, except settings,
// windows and data.
type frameLog struct {
	mu             sync.Mutex
	sent, received string
}

func (s *frameLog) add(f client.Frame) {
	kind, _, _ := strings.Cut(f.Words, " ")
	if kind != "HEADERS" && kind != "RST_STREAM" && kind != "GOAWAY" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	text := &s.received
	if f.Sent {
		text = &s.sent
	}
	if len(*text) < maxKept {
		*text += f.Words + "\r\n"
	}
}

// open opens another tunnel on the same connection.
func (s *streams) open() *client.Conn {
	ctx, cancel := context.WithTimeout(s.ctx, s.Patience)
	defer cancel()
	conn, err := s.client.Open(ctx, s.asked)
	if err != nil {
		sentence, _ := explain.Error(err)
		s.fail("%s", sentence)
	}
	s.conns = append(s.conns, conn)
	_ = conn.SetDeadline(time.Now().Add(s.Patience))
	return conn
}

// wantRead fails the check unless want is the next to come out of the tunnel.
func (s *streams) wantRead(want string) {
	got := make([]byte, len(want))
	n, err := io.ReadFull(s.conn, got)
	if string(got[:n]) != want {
		s.fail(`%s came; sent was "%s"`, describeRead(got[:n], err), wire.Escape([]byte(want), 60))
	}
}

// wantEcho fails the check unless the target sends text back.
func (s *streams) wantEcho(text string) {
	_, _ = io.WriteString(s.conn, text)
	s.wantRead(text)
}

func h2Bulk(t *trial) {
	t.target.serve(func(conn net.Conn) {
		_, _ = io.Copy(conn, stream(4, t.Bulk))
		closeWrite(conn)
		_, _ = io.Copy(io.Discard, conn)
	})
	s := t.stream()
	k := &talk{trial: t, conn: s.conn, got: &keeper{r: s.conn}}
	k.pace()
	k.br = bufio.NewReader(k.got)
	k.wantSum(4)
}

func h2BulkUp(t *trial) {
	got := t.serveSum()
	s := t.stream()
	k := &talk{trial: t, conn: s.conn, got: &keeper{r: s.conn}}
	k.sendSum(5, got)
}

func h2RefusalAlone(t *trial) {
	t.target.serve(echo)
	s := t.stream()
	ctx, cancel := context.WithTimeout(t.ctx, t.Patience)
	defer cancel()
	refused, err := s.client.Open(ctx, t.closed)
	var e *tunnel.Error
	switch {
	case err == nil:
		refused.Close()
		t.skip("a tunnel to a closed port was opened")
	case !errors.As(err, &e) || e.Status == 0:
		sentence, _ := explain.Error(err)
		t.fail("the refusal was no answer: %s", sentence)
	}
	s.wantEcho("still here")
}

func h2Parallel(t *trial) {
	t.target.serve(echo)
	s := t.stream()
	conns := []*client.Conn{s.conn}
	for range 31 {
		conns = append(conns, s.open())
	}
	for i, conn := range conns {
		fmt.Fprintf(conn, "stream %02d", i)
	}
	for i, conn := range conns {
		(&streams{trial: t, conn: conn}).wantRead(fmt.Sprintf("stream %02d", i))
	}
}
