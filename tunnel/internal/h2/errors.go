package h2

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/net/http2"
)

// ErrCode says why a stream or a connection ended (RFC 9113, section 7).
type ErrCode = http2.ErrCode

// The codes that callers send or look for.
const (
	CodeNo              = http2.ErrCodeNo
	CodeProtocol        = http2.ErrCodeProtocol
	CodeInternal        = http2.ErrCodeInternal
	CodeFlowControl     = http2.ErrCodeFlowControl
	CodeSettingsTimeout = http2.ErrCodeSettingsTimeout
	CodeStreamClosed    = http2.ErrCodeStreamClosed
	CodeFrameSize       = http2.ErrCodeFrameSize
	CodeRefusedStream   = http2.ErrCodeRefusedStream
	CodeCancel          = http2.ErrCodeCancel
	CodeCompression     = http2.ErrCodeCompression
	CodeConnect         = http2.ErrCodeConnect
	CodeEnhanceYourCalm = http2.ErrCodeEnhanceYourCalm
	CodeHTTP11Required  = http2.ErrCodeHTTP11Required
)

// Preface is what a client sends first (RFC 9113, section 3.4).
const Preface = http2.ClientPreface

// ErrGoingAway is Open's error on a connection that takes no more streams, for
// either side said so or it has run out of stream numbers: open another one.
var ErrGoingAway = errors.New("the HTTP/2 connection takes no more streams")

// errWriteEnded is Write's error behind CloseWrite.
var errWriteEnded = errors.New("write after END_STREAM")

// errSilent is why a connection died whose peer did not answer a PING.
var errSilent = errors.New("the peer did not answer a PING")

// StreamError is a stream that was reset. One with Remote and
// CodeRefusedStream was not processed: the request may be sent again.
type StreamError struct {
	ID     uint32
	Code   ErrCode
	Remote bool   // by the peer
	Detail string // what was wrong with the peer's frames; empty if Remote
}

func (e *StreamError) Error() string {
	s := "stream " + strconv.FormatUint(uint64(e.ID), 10) + " was reset"
	if e.Remote {
		s += " by the peer"
	}
	return s + withDetail(e.Code, e.Detail)
}

// ConnError is the end of a connection, and with it of its streams.
type ConnError struct {
	Code   ErrCode // of the GOAWAY, if there was one
	Remote bool    // the peer sent it
	Detail string  // its debug data, cut short, or what was wrong with the peer's frames
	Err    error   // of the transport; nil for a violation of the protocol
}

func (e *ConnError) Error() string {
	switch {
	case e.Err != nil:
		return "the HTTP/2 connection broke: " + e.Err.Error()
	case e.Remote:
		return "the peer gave the HTTP/2 connection up" + withDetail(e.Code, fmt.Sprintf("%.200q", e.Detail))
	}
	return "the HTTP/2 connection was given up" + withDetail(e.Code, e.Detail)
}

// Unwrap returns the transport's error.
func (e *ConnError) Unwrap() error { return e.Err }

func withDetail(code ErrCode, detail string) string {
	s := " with " + code.String()
	if detail != "" && detail != `""` {
		s += ": " + detail
	}
	return s
}

// PrefaceError is a peer that did not begin as HTTP/2 does: a client without the
// preface, or a server that answers it in HTTP/1.
type PrefaceError struct {
	Got []byte // its first bytes: a client's, at most len(Preface); a server's first line, cut short
}

func (e *PrefaceError) Error() string {
	return fmt.Sprintf("the peer does not speak HTTP/2: it began with %q", e.Got)
}

func violation(code ErrCode, format string, args ...any) *ConnError {
	return &ConnError{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// frameError makes a ConnError or a StreamError of what the Framer returned.
func (c *Conn) frameError(err error) error {
	var conn http2.ConnectionError
	var stream http2.StreamError
	switch {
	case errors.Is(err, http2.ErrFrameTooLarge):
		return violation(CodeFrameSize, "a frame is larger than announced")
	case errors.As(err, &stream):
		return &StreamError{ID: stream.StreamID, Code: stream.Code, Detail: "malformed frame"}
	case errors.As(err, &conn):
		detail := "malformed frame"
		if why := c.framer.ErrorDetail(); why != nil {
			detail = why.Error()
		}
		return violation(ErrCode(conn), "%s", detail)
	}
	return err
}
