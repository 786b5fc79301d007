package proxy

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/forward"
	"culvert/tunnel/internal/quota"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/wire"
	"culvert/tunnel/listen"
	"culvert/tunnel/relay"
)

// ServeHTTP serves one request of a net/http server, which must serve proxy requests
// only: the Server is its http.Server.Handler, and not behind a ServeMux, which
// redirects. Policy, log and limits are those of Serve, for a listener on the
// server's local address. The caller is responsible for what CheckExposure checks.
//
// net/http does not let a handler do all that Serve does. It accepts some malformed
// requests, and answers others itself, unlogged. Over HTTP/2 the target's end of
// file ends the tunnel, since a handler ends its stream only by returning; a reset
// is INTERNAL_ERROR, never CONNECT_ERROR; and the http.Server decides whether there
// is extended CONNECT. Every tunnel holds a goroutine of the http.Server, whose
// ReadTimeout and WriteTimeout cut tunnels over HTTP/2: set them to 0. Its Shutdown
// does not wait for tunnels over HTTP/1: call the Server's Shutdown as well.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.init()
	ln, ok := s.enter(r)
	if !ok {
		http.Error(w, "draining", http.StatusServiceUnavailable)
		return
	}
	defer s.run.active.Done()
	conn := &handlerConn{w: w, r: r, control: http.NewResponseController(w), closed: make(chan struct{})}
	from := requester{listener: ln, name: r.RemoteAddr}
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		from.addr = ap.Addr().Unmap().WithZone("")
	}
	if r.TLS != nil {
		from.user = certificateUser(*r.TLS)
	}
	side := &handlerWire{from: from, conn: conn, woken: make(chan struct{})}
	defer side.slot.Release()
	e := s.admitHandler(side)
	switch {
	case e != nil:
		side.Refuse(side.newRecord(), e, false)
	case r.Method == http.MethodConnect:
		ln.serveConnect(side.newConnect())
	default:
		exchanges := ln.forward.NewExchanges(s.run.ctx, conn, side)
		defer exchanges.Close()
		exchanges.Serve(forward.Incoming{Head: requestOfHandler(r), HTTP2: r.ProtoMajor != 1, Client: from.addr, Holds: side.slot.Request(), User: from.user, Record: side.newRecord()})
	}
	conn.wait(side.given)
}

// admitHandler gives the connection of a handler's request its place in the table, or
// returns why the client is not served. Over HTTP/2 each request counts as a connection.
func (s *Server) admitHandler(side *handlerWire) *tunnel.Error {
	if !s.allowsClient(side.from.addr) {
		return clientDenied()
	}
	if err := s.run.table.Admit(&side.slot, side.from.addr, nil); err != nil {
		return limitError(err, tunnel.Authority{})
	}
	return nil
}

// enter counts a request as active, and returns the listener for the address that it
// came to. It returns false if the Server is draining.
func (s *Server) enter(r *http.Request) (*listener, bool) {
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		addr = &net.TCPAddr{}
	}
	s.run.mu.Lock()
	defer s.run.mu.Unlock()
	if s.run.draining.Load() {
		return nil, false
	}
	s.run.active.Add(1)
	l := handlerListener{addr: addr, secure: r.TLS != nil}
	key := l.url()
	ln := s.run.handlers[key]
	if ln == nil {
		ln = &listener{Listener: l, server: s, url: key, policy: s.policyFor(l)}
		ln.forward = s.newForwarder(host{ln})
		if s.run.handlers == nil {
			s.run.handlers = make(map[string]*listener)
		}
		s.run.handlers[key] = ln
		s.run.listeners[ln] = struct{}{} // so that it is never a target
	}
	return ln, true
}

// handlerListener stands for the listener of a net/http server.
type handlerListener struct {
	addr   net.Addr
	secure bool
}

func (l handlerListener) url() string               { return listen.URLPrefix(l.secure) + l.addr.String() }
func (l handlerListener) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (l handlerListener) Close() error              { return nil }
func (l handlerListener) Addr() net.Addr            { return l.addr }

// requestOfHandler returns the request as it came, as far as net/http shows it.
func requestOfHandler(r *http.Request) *wire.Request {
	q := &wire.Request{Method: r.Method, Target: r.RequestURI, Minor: 1}
	if r.ProtoMajor == 1 {
		q.Minor = min(r.ProtoMinor, 1)
	} else {
		q.Target = "http://" + r.Host + strings.TrimPrefix(r.RequestURI, "*")
	}
	q.Line = r.Method + " " + q.Target + " " + r.Proto
	q.Fields = append(q.Fields, wire.Field{Name: "Host", Value: r.Host})
	for name, values := range r.Header {
		if name == "Content-Length" || name == "Transfer-Encoding" {
			continue
		}
		for _, value := range values {
			q.Fields = append(q.Fields, wire.Field{Name: name, Value: value})
		}
	}
	return q
}

// handlerWire is the forward.Wire of a handler's request.
type handlerWire struct {
	from  requester
	conn  *handlerConn
	slot  quota.Slot
	given bool // conn, to a relay
	woken chan struct{}
	once  sync.Once
}

func (w *handlerWire) newRecord() *accesslog.Record {
	return w.from.newRecord(w.conn.r.Method, w.protocol())
}

func (w *handlerWire) protocol() string {
	if w.conn.r.ProtoMajor == 1 {
		return protocolName(min(w.conn.r.ProtoMinor, 1))
	}
	return protocolHTTP2
}

// newConnect adapts a CONNECT.
func (w *handlerWire) newConnect() *connectRequest {
	r, rec := w.conn.r, w.newRecord()
	holds := w.slot.Request()
	q := &connectRequest{
		Authority: r.RequestURI,
		Client:    w.from.addr, Holds: &holds, User: w.from.user, Credentials: r.Header["Proxy-Authorization"], Via: r.Header["Via"], Record: rec,
		Watch:  watchBy(func() bool { return r.Context().Err() != nil }),
		Refuse: func(e *tunnel.Error) { w.Refuse(rec, e, false) },
		Accept: w.accept,
	}
	if r.ContentLength > 0 || r.ProtoMajor == 1 && r.TransferEncoding != nil {
		q.Malformed = connectHasContent()
	}
	return q
}

// accept sends the 2xx and returns the client's side.
func (w *handlerWire) accept() (relay.Side, error) {
	if w.conn.r.ProtoMajor == 1 {
		return w.hijack(established)
	}
	w.conn.w.WriteHeader(http.StatusOK)
	if err := w.conn.control.Flush(); err != nil {
		return relay.Side{}, err
	}
	return w.Give(), nil
}

// hijack takes over the connection and writes the answer to it.
func (w *handlerWire) hijack(answer string) (relay.Side, error) {
	conn, buffered, err := w.conn.control.Hijack()
	if err != nil {
		return relay.Side{}, err
	}
	w.conn.hijacked = true
	w.slot.Hand()
	conn.SetDeadline(time.Time{}) // net/http leaves its own set
	if _, err := io.WriteString(conn, answer); err != nil {
		conn.Close()
		return relay.Side{}, err
	}
	side := relay.Side{Conn: conn, Early: make([]byte, buffered.Reader.Buffered())}
	io.ReadFull(buffered, side.Early) // cannot fail: all of it is in memory
	return side, nil
}

// Body implements forward.Wire.
func (w *handlerWire) Body(wire.Framing) (forward.Content, int64) {
	r := w.conn.r
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return nil, 0
	}
	return handlerContent{r}, r.ContentLength
}

// handlerContent is the content of a handler's request.
type handlerContent struct{ r *http.Request }

// Read implements io.Reader.
func (c handlerContent) Read(p []byte) (int, error) { return c.r.Body.Read(p) }

// Trailer implements forward.Content.
func (c handlerContent) Trailer() (fields []wire.Field) {
	for name, values := range c.r.Trailer {
		for _, value := range values {
			fields = append(fields, wire.Field{Name: name, Value: value})
		}
	}
	return fields
}

// Arrived implements forward.Content.
func (c handlerContent) Arrived() bool { return false }

// Interim implements forward.Wire. It does not send 100, which net/http sends when
// content is read.
func (w *handlerWire) Interim(code int, fields []wire.Field) error {
	if code == http.StatusContinue {
		return nil
	}
	w.set(fields)
	w.conn.w.WriteHeader(code)
	clear(w.conn.w.Header())
	return nil
}

func (w *handlerWire) set(fields []wire.Field) {
	for _, f := range fields {
		w.conn.w.Header().Add(f.Name, f.Value)
	}
}

// Head implements forward.Wire.
func (w *handlerWire) Head(_ *bufio.Writer, h *forward.ReplyHead) error {
	w.set(h.Fields)
	if h.Length >= 0 {
		w.conn.w.Header().Set("Content-Length", strconv.FormatInt(h.Length, 10))
	}
	w.conn.w.WriteHeader(h.Code)
	return nil
}

// Content implements forward.Wire.
func (w *handlerWire) Content(bw *bufio.Writer, _ *forward.ReplyHead) io.Writer { return bw }

// End implements forward.Wire.
func (w *handlerWire) End(bw *bufio.Writer, h *forward.ReplyHead, _ io.Writer) error {
	err := bw.Flush()
	for _, f := range h.Trailer {
		w.conn.w.Header().Add(http.TrailerPrefix+f.Name, f.Value)
	}
	return err
}

// BreakOff implements forward.Wire.
func (w *handlerWire) BreakOff(bool) { w.conn.aborted = true }

// Switch implements forward.Wire.
func (w *handlerWire) Switch(h *forward.ReplyHead, protocols string) error {
	var head strings.Builder
	err := forward.WriteSwitch(&head, h, protocols)
	if err == nil {
		w.conn.side, err = w.hijack(head.String())
	}
	return err
}

// Give implements forward.Wire.
func (w *handlerWire) Give() relay.Side {
	if w.conn.hijacked {
		return w.conn.side
	}
	w.given = true
	return relay.Side{Conn: w.conn}
}

// Refuse implements forward.Wire.
func (w *handlerWire) Refuse(rec *accesslog.Record, e *tunnel.Error, headOnly bool) {
	rec.SetError(e)
	r := w.from.listener.server.newRefusal(e)
	for _, f := range r.fields {
		w.conn.w.Header().Set(f.Name, f.Value)
	}
	if w.conn.r.ProtoMajor == 1 {
		w.conn.w.Header().Set("Connection", "close")
	}
	w.conn.w.WriteHeader(r.status)
	if !headOnly {
		io.WriteString(w.conn.w, r.body)
	}
	w.from.listener.server.logRequest(rec)
}

// Await implements forward.Wire: it waits until net/http reports that the client is gone.
func (w *handlerWire) Await() error {
	select {
	case <-w.conn.r.Context().Done():
		return errStreamGone
	case <-w.woken:
		return nil
	}
}

// Wake implements forward.Wire.
func (w *handlerWire) Wake() { w.once.Do(func() { close(w.woken) }) }

// Settle implements forward.Wire.
func (w *handlerWire) Settle() {}

// handlerConn is a handler's request and reply as a conn.
type handlerConn struct {
	w        http.ResponseWriter
	r        *http.Request
	control  *http.ResponseController
	hijacked bool
	side     relay.Side // of a hijacked connection
	aborted  bool       // the reply must not pass for a complete one
	once     sync.Once
	closed   chan struct{}
}

// wait waits for the relay, if conn was given to one, before the handler returns.
func (c *handlerConn) wait(given bool) {
	if given {
		<-c.closed
	}
	if c.aborted && !c.hijacked {
		panic(http.ErrAbortHandler)
	}
}

func (c *handlerConn) Read(b []byte) (int, error) { return c.r.Body.Read(b) }

func (c *handlerConn) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	if err == nil {
		err = c.control.Flush()
	}
	return n, err
}

// Close lets the handler return.
func (c *handlerConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

// Abort implements sock.Aborter: the handler will panic with http.ErrAbortHandler.
func (c *handlerConn) Abort() { c.aborted = true }

var _ sock.Aborter = (*handlerConn)(nil)

func (c *handlerConn) LocalAddr() net.Addr {
	addr, _ := c.r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return addr
}

func (c *handlerConn) RemoteAddr() net.Addr {
	ap, _ := netip.ParseAddrPort(c.r.RemoteAddr)
	return net.TCPAddrFromAddrPort(ap)
}

func (c *handlerConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}
func (c *handlerConn) SetReadDeadline(t time.Time) error  { return c.control.SetReadDeadline(t) }
func (c *handlerConn) SetWriteDeadline(t time.Time) error { return c.control.SetWriteDeadline(t) }
