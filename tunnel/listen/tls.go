package listen

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/internal/sock"

	"golang.org/x/crypto/acme"
)

// NewTLS returns a listener whose clients speak TLS to the proxy, under
// config, for a Server to serve. Accept shakes no hands: the Server does that
// on each connection's own goroutine, within HeaderTimeout, so that a client
// that never comes to an end of it holds nobody up. It owns and closes l.
//
// TLS 1.2 is the least unless config says otherwise; by ALPN (RFC 7301) clients
// choose HTTP/2 or HTTP/1.1. Where config verifies client certificates
// (tls.VerifyClientCertIfGiven and above) a verified one makes a user: its
// subject's common name, or else its first mail address, DNS name or URI. On
// such a listener a Server without a Verifier serves nobody else.
//
// Not tls.NewListener: a Server knows its conns from these, and takes them for
// plain ones.
func NewTLS(l net.Listener, config *tls.Config) net.Listener {
	config = config.Clone()
	protocols := []string{tunnel.ALPNHTTP2, tunnel.ALPNHTTP1}
	if slices.Contains(config.NextProtos, acme.ALPNProto) {
		protocols = append(protocols, acme.ALPNProto)
	}
	config.NextProtos = protocols
	if config.MinVersion == 0 {
		config.MinVersion = tls.VersionTLS12
	}
	return &listener{l, config}
}

type listener struct {
	net.Listener
	config *tls.Config
}

// Accept implements net.Listener; the conn is a *Conn.
func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newConn(conn, l.config), nil
}

// speaksTLS reports whether l is one of NewTLSListener's.
func speaksTLS(l net.Listener) bool {
	_, ok := l.(*listener)
	return ok
}

// VerifiesClients reports whether l has client certificates verified.
func VerifiesClients(l net.Listener) bool {
	t, ok := l.(*listener)
	return ok && t.config.ClientAuth >= tls.VerifyClientCertIfGiven
}

// tlsGoodbye bounds the close_notify of a Close. It goes into the send queue,
// unless the client reads nothing; then it is not worth waiting for.
const tlsGoodbye = 200 * time.Millisecond

// Conn is a client connection over TLS. Unlike a tls.Conn it can be asked
// what is there without being made to wait, and its farewells are bounded by
// the deadlines that are set on it and not by five seconds of tls.Conn's own: a
// tunnel whose client takes its last bytes slowly would break.
type Conn struct {
	*tls.Conn
	wire *tlsWire
}

func newConn(conn net.Conn, config *tls.Config) *Conn {
	wire := &tlsWire{Conn: conn}
	return &Conn{tls.Server(wire, config), wire}
}

// SetDeadline implements net.Conn. After a write that failed for its deadline
// nothing more can be written.
func (c *Conn) SetDeadline(t time.Time) error { return c.wire.Conn.SetDeadline(t) }

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.wire.Conn.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.wire.Conn.SetWriteDeadline(t) }

// Close says close_notify if that is possible at once, and closes the
// connection.
func (c *Conn) Close() error {
	// Whoever writes at this moment is hurried, too.
	_ = c.wire.Conn.SetWriteDeadline(time.Now().Add(tlsGoodbye))
	return c.Conn.Close()
}

var _ sock.Patient = (*Conn)(nil)

// Socket returns the connection that carries the TLS.
func (c *Conn) Socket() net.Conn { return c.wire.Conn }

// HasSpoken reports whether a byte has come from the client.
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

// tlsWire is the conn beneath a Conn's tls.Conn.
type tlsWire struct {
	net.Conn
	touched bool // a byte came
	frame   recordFrame

	// Once it is patient it reads for itself, in large pieces, when there is
	// something to read, and tls.Conn is given of that only.
	patient    bool
	inbox      *sock.Buffer // pooled; nil = empty
	next, have int          // what of inbox tls.Conn has still to get
	ended      bool         // the client's end of file was read
	waiting    wireWait
}

// NetConn returns the connection beneath, for whoever looks for a socket.
func (w *tlsWire) NetConn() net.Conn { return w.Conn }

// SetWriteDeadline is tls.Conn's own doing, when it says goodbye: see Conn.
func (w *tlsWire) SetWriteDeadline(time.Time) error { return nil }

// Read implements net.Conn for tls.Conn. A patient one gives it no more than one
// record at a time, which is all that its buffer, of no use while the tunnel is
// silent, then has to hold.
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

// fillHolding is fill for a conn that offers no way to wait without a buffer.
func (w *tlsWire) fillHolding() error {
	buf := sock.GetBuffer()
	n, err := w.Conn.Read(buf[:])
	if n > 0 {
		w.inbox, w.next, w.have = buf, 0, n
		return nil // an error comes again
	}
	buf.Release()
	if errors.Is(err, io.EOF) {
		w.ended = true
		return nil
	}
	return err
}

// recordFrame follows the framing of TLS records (RFC 8446, section 5.1).
type recordFrame struct {
	header int // bytes of the header that have passed
	body   int // bytes of the record that are still to come, as far as known
}

const recordHeader = 5 // type, version, and two bytes of length

// rest is how many bytes there are to the end of the header or the record.
func (f *recordFrame) rest() int {
	if f.header < recordHeader {
		return recordHeader - f.header
	}
	return f.body
}

// pass notes bytes that go by.
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

// Words is a library's error without its prefix.
func TLSErrorText(err error) string {
	return strings.TrimPrefix(strings.TrimPrefix(err.Error(), "tls: "), "x509: ")
}
