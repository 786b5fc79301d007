package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/page"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/wire"
)

// http1Handshake sends CONNECT over HTTP/1.
type http1Handshake struct {
	*hopRequest
	conn net.Conn
	br   *bufio.Reader // over conn; buffers what follows the reply's head
}

// reuseWait bounds how long a proxy may be silent on a connection that carried its 407,
// before the request is sent once more over another connection. Some proxies answer
// nothing more on such a connection.
const reuseWait = 5 * time.Second

// run sends CONNECT and reads the reply (RFC 9110, section 9.3.6), as often as the
// login needs over this connection. On success the tunnel begins with the early bytes.
func (h *http1Handshake) run(ctx context.Context) (conn net.Conn, early []byte, e *tunnel.Error) {
	for reused := false; ; reused = true {
		again, sameConn, e := h.round(ctx, reused)
		switch {
		case e == nil:
			return h.conn, buffered(h.br), nil
		case again && sameConn:
			continue
		}
		h.reconnect = again
		return nil, nil, e
	}
}

// round sends one request and reads its reply. reused is true if the connection carried
// a 407 before. After an error, again reports whether to send the request again, with
// other credentials, and sameConn whether to do so over the same connection.
func (h *http1Handshake) round(ctx context.Context, reused bool) (again, sameConn bool, e *tunnel.Error) {
	fields := h.fields()
	h.waiting()
	x := &Exchange{Hop: h.hop, Next: h.next, Request: requestHead(h.next, fields), Started: time.Now()}
	wait := h.wait(ctx, reused)
	e = h.exchange(ctx, x, wait)
	// RFC 9110, section 9.3.6: any 2xx opens the tunnel, at the blank line;
	// Content-Length and Transfer-Encoding in it are ignored.
	switch {
	case e != nil && reused && unanswered(e):
		again = h.login.connUseless(h.next, errClosedBetween)
		e.Login = h.loginTrouble()
	case e != nil && silent(e):
		if wait > 0 && ctx.Err() == nil {
			again = h.login.connUseless(h.next, errSilentBetween)
		}
		e.Login = h.loginTrouble()
	case e != nil:
	case x.reply.Code/100 == 2:
		x.Glued = h.br.Buffered()
		e = h.verifyProxy(x.reply)
	default:
		again, sameConn = h.refused(ctx, x)
		if w := h.client.Watch; w != nil && w.RefusalWait > 0 && !again {
			h.client.waiting("%s to close after its refusal", h.hop.Name())
			h.watchClose(ctx, w.RefusalWait, x)
		}
		e = h.refusal(x, fields)
	}
	h.finish(x, e)
	return again, sameConn, e
}

// refused reads the content of a refusal and asks the login what to do. The content of a
// 407 that is answered over another connection is not waited for: nobody needs it, and
// without a length it ends with the connection, which some proxies keep open.
func (h *http1Handshake) refused(ctx context.Context, x *Exchange) (again, sameConn bool) {
	content := newContent(h.br, x.reply)
	if h.login != nil && persists(x.reply) && content.ends() {
		kept := h.readRefusal(ctx, x, content, bodyWait)
		return h.login.challenged(x.reply, h.next, kept)
	}
	if again, _ = h.login.challenged(x.reply, h.next, false); again {
		received := newContent(bufio.NewReader(bytes.NewReader(buffered(h.br))), x.reply)
		x.Body, _ = received.excerpt()
		return true, false
	}
	wait := bodyWait
	if wantsLogin(x.reply) && !content.ends() {
		wait = loginBodyWait
	}
	h.readRefusal(ctx, x, content, wait)
	return false, false
}

// wait returns how long the proxy may be silent before the request is sent over another
// connection; 0 = as long as ctx allows. Once that was tried it is of no use.
func (h *http1Handshake) wait(ctx context.Context, reused bool) time.Duration {
	if !reused || h.login == nil || h.login.fellSilent {
		return 0
	}
	if until, ok := ctx.Deadline(); ok {
		return min(reuseWait, time.Until(until)/2)
	}
	return reuseWait
}

// silent reports whether the proxy sent nothing at all.
func silent(e *tunnel.Error) bool {
	return e.Type == tunnel.ErrorConnectionReadTimeout && e.Phase == tunnel.PhaseReply && e.Answer == nil
}

// buffered returns the bytes in br's buffer; nil = none.
func buffered(br *bufio.Reader) []byte {
	if br.Buffered() == 0 {
		return nil
	}
	early, _ := br.Peek(br.Buffered())
	return early
}

// exchange writes the request, and reads replies up to the head of the final one. The
// first byte has to come within wait, if that is not 0.
func (h *http1Handshake) exchange(ctx context.Context, x *Exchange, wait time.Duration) *tunnel.Error {
	if e := h.begin(ctx, x, wait); e != nil {
		return e
	}
	release := sock.InterruptOnDone(ctx, h.conn)
	defer release()
	for {
		reply, err := wire.ReadReply(h.br, wire.DefaultMaxHead)
		if err != nil {
			return h.headError(ctx, x, err)
		}
		// Interim replies are skipped (RFC 9110, section 15.2). 101 is final in effect,
		// and not a valid answer to CONNECT.
		if reply.Code >= 200 || reply.Code == http.StatusSwitchingProtocols {
			x.Complete, x.Reply, x.reply = time.Now(), reply.Raw, reply
			return nil
		}
		if x.Interim = append(x.Interim, reply.Raw); len(x.Interim) > MaxInterim {
			return &tunnel.Error{Phase: tunnel.PhaseReply, Type: tunnel.ErrorProtocol, Detail: "interim replies without end"}
		}
	}
}

// begin writes the request, and waits for the first byte of a reply.
func (h *http1Handshake) begin(ctx context.Context, x *Exchange, wait time.Duration) *tunnel.Error {
	if wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, wait)
		defer cancel()
	}
	release := sock.InterruptOnDone(ctx, h.conn)
	defer release()
	if _, err := h.conn.Write(x.Request); err != nil && !neterr.Reset(err) {
		return h.cut(ctx, tunnel.PhaseRequest, err)
	} // A proxy that refuses without reading may have answered before its reset.
	x.Sent = time.Now()
	if _, err := h.br.Peek(1); err != nil {
		return h.headError(ctx, x, err)
	}
	x.FirstIn = time.Now()
	return nil
}

// requestHead returns the head of a CONNECT request: authority-form, with the same
// Host, without framing fields and Proxy-Connection (RFC 9110, section 9.3.6; RFC
// 9112, section 3.2.3).
func requestHead(next tunnel.Authority, fields []Field) []byte {
	var b bytes.Buffer
	b.WriteString("CONNECT " + next.String() + " HTTP/1.1\r\nHost: " + next.String() + "\r\n")
	for _, f := range fields {
		b.WriteString(f.Name + ": " + f.Value + "\r\n")
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// cut is cutError, unless the failure is one of TLS.
func (h *http1Handshake) cut(ctx context.Context, phase tunnel.Phase, err error) *tunnel.Error {
	if secured, ok := h.conn.(*clientTLS); ok {
		if e := secured.lateFailure(err); e != nil {
			return e
		}
	}
	return cutError(ctx, phase, err)
}

// headError returns the Error for a reply whose head is incomplete or malformed.
func (h *http1Handshake) headError(ctx context.Context, x *Exchange, err error) *tunnel.Error {
	var head *wire.HeadError
	if !errors.As(err, &head) {
		e := h.cut(ctx, tunnel.PhaseReply, err)
		if e.Type == tunnel.ErrorConnectionTerminated && errors.Is(err, io.EOF) {
			e.Err = nil // the words of the type say it
		}
		return e
	}
	x.Reply, x.replyErr = head.Raw, head
	if head.Err != nil && ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
		return cutError(ctx, tunnel.PhaseReply, head.Err)
	}
	if odd := page.OddHTTP(head.Raw); odd != "" && head.Problem == wire.NotHTTP {
		head.Problem, head.Detail = wire.Malformed, odd
	}
	e := &tunnel.Error{Phase: tunnel.PhaseReply, Type: tunnel.ErrorProtocol, Detail: head.Detail, Answer: &tunnel.AnswerTrouble{Start: head.Raw, WrongProtocol: head.Problem == wire.NotHTTP}}
	switch head.Problem {
	case wire.TooLarge:
		e.Type = tunnel.ErrorResponseHeadSize
	case wire.NotHTTP:
		e.Detail = "the answer is not HTTP: it begins with \"" + wire.Escape(head.Raw, 40) + "\""
	case wire.Truncated:
		e.Type, e.Detail, e.Err = tunnel.ErrorResponseIncomplete, "", neterr.Plain(head.Err)
		if neterr.Timeout(head.Err) {
			e.Type = tunnel.ErrorConnectionReadTimeout
		}
	}
	return e
}

// readRefusal reads the start of the refusal's content, for at most wait. It reports
// whether the content has ended, so that the connection can carry another request;
// mostly it cannot, as RFC 9931 makes proxies close it.
func (h *http1Handshake) readRefusal(ctx context.Context, x *Exchange, content *content, wait time.Duration) (ended bool) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	release := sock.InterruptOnDone(ctx, h.conn)
	defer release()
	x.Body, x.bodyError = content.excerpt()
	return x.bodyError == nil && h.login != nil && content.finish() && h.br.Buffered() == 0
}

// watchClose records whether the proxy closes the connection after its refusal, as RFC
// 9931 demands for a refused CONNECT over HTTP/1.1.
func (h *http1Handshake) watchClose(ctx context.Context, wait time.Duration, x *Exchange) {
	watch, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	release := sock.InterruptOnDone(watch, h.conn)
	defer release()
	n, err := io.CopyN(io.Discard, h.br, maxExcerpt)
	// The result says nothing if the proxy was still sending, or if our own deadline
	// left it no time to close.
	x.Watched = err != nil && ctx.Err() == nil && !(neterr.Timeout(err) && x.unfinished(n))
	x.KeptOpen = x.Watched && neterr.Timeout(err)
}
