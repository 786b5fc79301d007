package h2

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/net/http2"
)

// ErrCode says why a stream or a connection ended (RFC 9113, section 7).
type ErrCode = http2.ErrCode

// The error codes.
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

// ErrGoingAway is the error of Open on a connection that takes no more streams, because
// one side has announced so or there are no more stream numbers. Another connection is
// needed.
var ErrGoingAway = errors.New("the HTTP/2 connection takes no more streams")

// errWriteEnded is the error of Write after CloseWrite.
var errWriteEnded = errors.New("write after END_STREAM")

// errSilent is the error of a connection whose peer did not answer a PING.
var errSilent = errors.New("the peer did not answer a PING")

// StreamError is the error of a stream that was reset. If Remote is set and Code is
// CodeRefusedStream, the request was not processed and may be sent again (RFC 9113,
// section 8.7).
type StreamError struct {
	ID     uint32
	Code   ErrCode
	Remote bool   // the peer has reset it
	Detail string // what was wrong with the frames of the peer; empty if Remote
}

func (e *StreamError) Error() string {
	s := "stream " + strconv.FormatUint(uint64(e.ID), 10) + " was reset"
	if e.Remote {
		s += " by the peer"
	}
	return s + withDetail(e.Code, e.Detail)
}

// ConnError is the error that ended a connection, and its streams.
type ConnError struct {
	Code   ErrCode // the code of the GOAWAY, if there was one
	Remote bool    // the peer has sent the GOAWAY
	Detail string  // its debug data, truncated, or what was wrong with the frames of the peer
	Err    error   // the error of the connection beneath; nil for a violation of the protocol
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

// Unwrap returns Err.
func (e *ConnError) Unwrap() error { return e.Err }

func withDetail(code ErrCode, detail string) string {
	s := " with " + code.String()
	if detail != "" && detail != `""` {
		s += ": " + detail
	}
	return s
}

// PrefaceError is the error of a connection whose peer does not speak HTTP/2: a client that
// does not send the preface, or a server that answers it in another protocol.
type PrefaceError struct {
	Got []byte // the first bytes of a client, at most len(Preface), or the first line of a server, truncated
}

func (e *PrefaceError) Error() string {
	return fmt.Sprintf("the peer does not speak HTTP/2: it began with %q", e.Got)
}

// violation returns the error of a peer that broke the rules of the protocol.
func violation(code ErrCode, format string, args ...any) *ConnError {
	return &ConnError{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// frameError returns the ConnError or StreamError for an error of the Framer. Other errors
// it returns unchanged.
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
