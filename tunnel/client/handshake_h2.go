package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/internal/h2"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/wire"
)

// http2Handshake sends CONNECT over HTTP/2 (RFC 9113, section 8.5).
type http2Handshake struct {
	*hopRequest
	streams *h2.Conn
	opened  func() // called when the first stream is open, or could not be opened
}

// run opens streams, as many as the login needs, until one of them is the tunnel.
func (h *http2Handshake) run(ctx context.Context) (conn net.Conn, early []byte, e *tunnel.Error) {
	for {
		s, again, e := h.round(ctx)
		switch {
		case e == nil:
			return h2.NetConn(s, h2.CodeCancel), nil, nil
		case !again:
			return nil, nil, e
		}
	}
}

// round sends one CONNECT and reads the reply's head. The caller closes the stream,
// which is nil after an error; again then reports whether to send CONNECT again.
func (h *http2Handshake) round(ctx context.Context) (s *h2.Stream, again bool, e *tunnel.Error) {
	asked := h.fields()
	fields := h.requestFields(asked)
	h.waiting()
	x := &Exchange{Hop: h.hop, Next: h.next, HTTP2: true, Request: headText(fields), Started: time.Now()}
	s, e = h.exchange(ctx, x, fields)
	switch {
	case e != nil:
	case x.reply.Code/100 == 2:
		e = h.verifyProxy(x.reply)
	default:
		if h.login != nil {
			h.login.overHTTP2 = true
		}
		// The content of a refusal that is answered by another stream is not waited for.
		if again, _ = h.login.challenged(x.reply, h.next, false); !again {
			h.readRefusal(ctx, s, x)
		}
		e = h.refusal(x, asked)
	}
	h.finish(x, e)
	if e != nil && s != nil {
		s.Close()
		s = nil
	}
	return s, again, e
}

// requestFields returns all fields of the request. Those that are about an HTTP/1
// connection are left out (RFC 9113, section 8.2.2).
func (h *http2Handshake) requestFields(asked []Field) []h2.Field {
	fields := []h2.Field{{Name: ":method", Value: http.MethodConnect}, {Name: ":authority", Value: h.next.String()}}
	for _, f := range asked {
		name := strings.ToLower(f.Name)
		switch name {
		case "connection", "proxy-connection", "keep-alive", "upgrade", "te":
			continue
		}
		fields = append(fields, h2.Field{Name: name, Value: f.Value, Sensitive: name == "proxy-authorization"})
	}
	return fields
}

// headText returns an HTTP/2 head as text, one field per line. On the wire it is
// compressed, which nobody could read.
func headText(fields []h2.Field) []byte {
	var b bytes.Buffer
	for _, f := range fields {
		b.WriteString(f.Name + ": " + f.Value + "\r\n")
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// exchange sends the request, and reads replies up to the head of the final one.
func (h *http2Handshake) exchange(ctx context.Context, x *Exchange, fields []h2.Field) (*h2.Stream, *tunnel.Error) {
	s, err := h.streams.Open(ctx, fields, false)
	h.opened()
	if err != nil {
		return nil, h.broken(ctx, tunnel.PhaseRequest, err)
	}
	x.Sent = time.Now()
	for {
		head, err := s.ReadHead(ctx)
		if err != nil {
			return s, h.broken(ctx, tunnel.PhaseReply, err)
		}
		if x.FirstIn.IsZero() {
			x.FirstIn = time.Now()
		}
		if head.TooLarge {
			return s, &tunnel.Error{Phase: tunnel.PhaseReply, Type: tunnel.ErrorResponseHeadSize}
		}
		text := headText(head.Fields)
		if code := head.Status(); code >= 200 {
			x.Complete, x.Reply = time.Now(), text
			x.reply = &wire.Reply{Code: code, Minor: 1, Head: wire.Head{Raw: text, Fields: headFields(head)}}
			return s, nil
		}
		if x.Interim = append(x.Interim, text); len(x.Interim) > MaxInterim {
			return s, &tunnel.Error{Phase: tunnel.PhaseReply, Type: tunnel.ErrorProtocol, Detail: "interim replies without end"}
		}
	}
}

// headFields returns the fields of a head without the pseudo-header fields.
func headFields(head h2.Head) []wire.Field {
	var fields []wire.Field
	for _, f := range head.Fields {
		if !f.IsPseudo() {
			fields = append(fields, wire.Field{Name: f.Name, Value: f.Value})
		}
	}
	return fields
}

// broken returns the Error for an exchange that ended without an answer.
func (h *http2Handshake) broken(ctx context.Context, phase tunnel.Phase, err error) *tunnel.Error {
	var stream *h2.StreamError
	var conn *h2.ConnError
	var preface *h2.PrefaceError
	switch {
	case ctx.Err() != nil:
		return cutError(ctx, phase, ctx.Err())
	case errors.As(err, &preface):
		return &tunnel.Error{Phase: tunnel.PhaseReply, Type: tunnel.ErrorProtocol, Answer: &tunnel.AnswerTrouble{Start: preface.Got, WrongProtocol: true},
			Detail: "it does not speak HTTP/2: it begins with \"" + wire.Escape(preface.Got, 40) + "\""}
	case errors.As(err, &stream) && stream.Remote:
		return &tunnel.Error{Phase: tunnel.PhaseReply, Type: tunnel.ErrorConnectionTerminated, Detail: HTTP2Failure(err), Err: err}
	case errors.As(err, &stream):
		return &tunnel.Error{Phase: tunnel.PhaseReply, Type: tunnel.ErrorProtocol, Detail: stream.Detail}
	case errors.As(err, &conn) && conn.Remote:
		return &tunnel.Error{Phase: tunnel.PhaseReply, Type: tunnel.ErrorConnectionTerminated, Detail: HTTP2Failure(err), Err: err}
	case errors.As(err, &conn) && conn.Err != nil:
		return cutError(ctx, phase, conn.Err)
	case errors.As(err, &conn):
		return &tunnel.Error{Phase: tunnel.PhaseReply, Type: tunnel.ErrorProtocol, Detail: wire.Escape([]byte(conn.Detail), MaxDetail)}
	case errors.Is(err, h2.ErrGoingAway):
		return &tunnel.Error{Phase: phase, Type: tunnel.ErrorConnectionTerminated, Detail: HTTP2Failure(err), Err: err}
	}
	return &tunnel.Error{Phase: tunnel.PhaseRequest, Type: tunnel.ErrorRequest, Detail: err.Error()}
}

// HTTP2Failure describes, in printable ASCII, how a proxy ended an HTTP/2 stream or its
// connection. It returns "" if err is something else.
func HTTP2Failure(err error) string {
	var stream *h2.StreamError
	var conn *h2.ConnError
	switch {
	case errors.As(err, &stream):
		return "the stream was reset with " + stream.Code.String()
	case errors.As(err, &conn) && conn.Remote:
		return wire.Escape([]byte(conn.Error()), MaxDetail)
	case errors.Is(err, h2.ErrGoingAway):
		return err.Error()
	}
	return ""
}

// repeatable reports whether the request may be sent again on another connection,
// since the proxy has not acted on it (RFC 9113, section 8.7).
func repeatable(e *tunnel.Error) bool {
	var stream *h2.StreamError
	return errors.Is(e.Err, h2.ErrGoingAway) || errors.As(e.Err, &stream) && stream.Remote && stream.Code == h2.CodeRefusedStream
}

// readRefusal reads the start of the refusal's content, for at most bodyWait.
func (h *http2Handshake) readRefusal(ctx context.Context, s *h2.Stream, x *Exchange) {
	until := time.Now().Add(bodyWait)
	if d, ok := ctx.Deadline(); ok && d.Before(until) {
		until = d
	}
	s.SetReadDeadline(until)
	defer sock.InterruptOnDone(ctx, s)()
	x.Body, x.bodyError = io.ReadAll(io.LimitReader(s, maxExcerpt))
}
