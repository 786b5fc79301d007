package listen

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/internal/sock"

	"golang.org/x/crypto/acme"
)

// NewTLS returns a listener whose clients speak TLS with the proxy under config, for a
// proxy.Server to serve. It owns l and closes it. Accept does not perform the
// handshake: the server does that on the goroutine of each connection, within its
// HeaderTimeout, so that a slow client does not delay others.
//
// The oldest version is TLS 1.2 unless config says otherwise. By ALPN (RFC 7301)
// clients choose HTTP/2 or HTTP/1.1. If config verifies client certificates
// (tls.VerifyClientCertIfGiven or stricter), a verified certificate makes a user: its
// subject's common name, or else its first mail address, DNS name or URI. On such a
// listener a server without a Verifier serves no other clients.
//
// A listener of tls.NewListener does not do: a proxy.Server would take its conns for
// plain ones.
func NewTLS(l net.Listener, config *tls.Config) net.Listener {
	secure := &listener{Listener: l}
	secure.use(config.Clone())
	return secure
}

type listener struct {
	net.Listener
	config atomic.Pointer[tls.Config] // of the next connection
}

// use makes config the configuration of the connections to come, with what every listener
// has. It owns config.
func (l *listener) use(config *tls.Config) {
	protocols := []string{tunnel.ALPNHTTP2, tunnel.ALPNHTTP1}
	if slices.Contains(config.NextProtos, acme.ALPNProto) {
		protocols = append(protocols, acme.ALPNProto)
	}
	config.NextProtos = protocols
	if config.MinVersion == 0 {
		config.MinVersion = tls.VersionTLS12
	}
	l.config.Store(config)
}

// Accept implements net.Listener; the conn is a *Conn.
func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newConn(conn, l.config.Load()), nil
}

// SpeaksTLS reports whether l is a listener of NewTLS or TLS.Listen.
func SpeaksTLS(l net.Listener) bool {
	_, ok := l.(*listener)
	return ok
}

// VerifiesClients reports whether l is a listener of NewTLS that verifies client
// certificates.
func VerifiesClients(l net.Listener) bool {
	t, ok := l.(*listener)
	return ok && t.config.Load().ClientAuth >= tls.VerifyClientCertIfGiven
}

// closeNotifyTimeout limits how long Close tries to write the close_notify alert. It
// fits into the send queue unless the client reads nothing, and then the alert is not
// worth waiting for.
const closeNotifyTimeout = 200 * time.Millisecond

// Conn is a client connection over TLS, accepted by a listener of NewTLS. Unlike a
// tls.Conn it can be read without blocking (see sock.Patient), and closing it is
// limited by the deadlines set on it and not by five seconds, in which a tunnel whose
// client reads its last bytes slowly would break.
type Conn struct {
	*tls.Conn
	wire *tlsWire // beneath the tls.Conn
}

func newConn(conn net.Conn, config *tls.Config) *Conn {
	wire := &tlsWire{Conn: conn}
	return &Conn{tls.Server(wire, config), wire}
}

// SetDeadline implements net.Conn. After a write that exceeded its deadline nothing more
// can be written.
func (c *Conn) SetDeadline(t time.Time) error { return c.wire.Conn.SetDeadline(t) }

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.wire.Conn.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.wire.Conn.SetWriteDeadline(t) }

// Close sends a close_notify alert, if that is possible at once, and closes the
// connection.
func (c *Conn) Close() error {
	// The deadline also ends a write in another goroutine.
	_ = c.wire.Conn.SetWriteDeadline(time.Now().Add(closeNotifyTimeout))
	return c.Conn.Close()
}

var _ sock.Patient = (*Conn)(nil)

// Socket returns the connection that carries the TLS.
func (c *Conn) Socket() net.Conn { return c.wire.Conn }

// HasReceived reports whether at least one byte was received from the client.
func (c *Conn) HasReceived() bool { return c.wire.touched }

// ReadNow implements sock.Patient.
func (c *Conn) ReadNow(b []byte) (n int, err error) {
	c.wire.patient = true
	for n < len(b) && err == nil {
		var more int
		more, err = c.Conn.Read(b[n:])
		n += more
	}
	return n, err
}

// AwaitMore implements sock.Patient.
func (c *Conn) AwaitMore() error { return c.wire.fill() }

// tlsWire is the conn beneath the tls.Conn of a Conn.
type tlsWire struct {
	net.Conn
	touched bool // at least one byte was received
	frame   recordFrame

	// A patient tlsWire reads in large pieces, and only when there are bytes to
	// read. tls.Conn then gets bytes from inbox and never waits for the network.
	patient    bool
	inbox      *sock.Buffer // pooled; nil = empty
	next, have int          // tls.Conn has not read inbox[next:have] yet
	ended      bool         // the client's end of file was received
	waiting    wireWait
}

// NetConn returns the underlying connection, for code that needs the socket.
func (w *tlsWire) NetConn() net.Conn { return w.Conn }

// SetWriteDeadline ignores the deadline that tls.Conn sets when it is closed: see
// Conn.
func (w *tlsWire) SetWriteDeadline(time.Time) error { return nil }

// Read implements net.Conn for tls.Conn. A patient tlsWire returns the bytes of no more
// than one record at a time, so that the buffer of tls.Conn, which is useless while the
// tunnel is silent, stays small.
func (w *tlsWire) Read(b []byte) (n int, err error) {
	switch {
	case !w.patient:
		n, err = w.Conn.Read(b)
		w.touched = w.touched || n > 0
	case w.inbox != nil:
		n = copy(b[:min(len(b), w.frame.rest())], w.inbox[w.next:w.have])
		if w.next += n; w.next == w.have {
			w.inbox.Release()
			w.inbox = nil
		}
	case w.ended:
		return 0, io.EOF
	default:
		return 0, sock.ErrNothingYet
	}
	w.frame.pass(b[:n])
	return n, err
}

// fillHolding is fill for a conn that cannot wait without a buffer.
func (w *tlsWire) fillHolding() error {
	buf := sock.GetBuffer()
	n, err := w.Conn.Read(buf[:])
	if n > 0 {
		w.inbox, w.next, w.have = buf, 0, n
		return nil // the next read returns the error again
	}
	buf.Release()
	if errors.Is(err, io.EOF) {
		w.ended = true
		return nil
	}
	return err
}

// recordFrame tracks the framing of TLS records (RFC 8446, section 5.1).
type recordFrame struct {
	header int // bytes of the header seen so far
	body   int // bytes of the record that are still to come, as far as its header tells
}

const recordHeader = 5 // type, version, and two bytes of length

// rest returns the number of bytes up to the end of the header or the record.
func (f *recordFrame) rest() int {
	if f.header < recordHeader {
		return recordHeader - f.header
	}
	return f.body
}

// pass advances the frame by the bytes b.
func (f *recordFrame) pass(b []byte) {
	for len(b) > 0 {
		if f.header == recordHeader {
			n := min(f.body, len(b))
			f.body, b = f.body-n, b[n:]
		} else {
			f.body = (f.body<<8 | int(b[0])) & 0xffff
			f.header, b = f.header+1, b[1:]
		}
		if f.header == recordHeader && f.body == 0 {
			f.header = 0
		}
	}
}

// TLSErrorText returns the text of an error of crypto/tls or crypto/x509 without the
// prefix that names the package.
func TLSErrorText(err error) string {
	return strings.TrimPrefix(strings.TrimPrefix(err.Error(), "tls: "), "x509: ")
}
