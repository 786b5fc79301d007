package probe

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net/netip"
	"slices"
	"sync"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/interception"
	"culvert/tunnel/internal/neterr"
)

// recording is what a Prober saw while one tunnel was opened. The hooks of a Trace
// fill it, from several goroutines.
type recording struct {
	mu              sync.Mutex
	started         time.Time
	lookup          *lookup // of the first hop's name
	furtherLookups  []furtherLookup
	attempts        []connectAttempt
	furtherAttempts []connectAttempt // for further connections, which some logins need
	exchanges       []recordedExchange
	socks           []recordedSOCKS
	tls             []recordedTLS // with proxies and, last, the target
	frames          []client.Frame
	reads           []segment // of the current exchange
	keptBytes       int       // bytes of reads
	left            string    // how the proxy left the connection of the current exchange; "" = it did not
	connections     int       // connections to the first hop that were used
	lastStep        time.Time // when the last step succeeded
	taps            []*tapped // connections that speak HTTP/2
	tapsClosed      bool      // the taps record no more
	finished        bool      // nothing is recorded any more
	settled         bool      // the first connection is made; later attempts are for another
}

// lookup is the resolution of the first hop's name.
type lookup struct {
	host  string
	addrs []netip.Addr
	ended time.Time
	err   error
}

// furtherLookup is the resolution of a name that a SOCKS hop is asked for as an
// address.
type furtherLookup struct {
	lookup
	started time.Time
}

// connectAttempt is one address that was tried; ended is zero while the attempt
// runs.
type connectAttempt struct {
	addr           string
	started, ended time.Time
	err            error
}

// recordedTLS is a TLS handshake, and how many exchanges came before it.
type recordedTLS struct {
	*client.TLSHandshake
	before int
}

// recordedSOCKS is a message of SOCKS, and how many exchanges came before it.
type recordedSOCKS struct {
	*client.SOCKSMessage
	before int
	conn   int // as in recordedExchange
}

// recordedExchange is an exchange, and when it ended.
type recordedExchange struct {
	*client.Exchange
	ended time.Time
	reads []segment
	left  string // how the proxy left the connection; "" = it did not
	conn  int    // the number of the connection, from 1
}

// trace returns the hooks that fill the recording.
func (r *recording) trace() *client.Trace {
	return &client.Trace{
		Resolved: r.resolved, Connecting: r.connecting, Connected: r.connected,
		Secured: r.secured, Exchanged: r.exchanged, SOCKSExchanged: r.spoken, Framed: r.framed,
	}
}

func (r *recording) resolved(host string, addrs []netip.Addr, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := lookup{host: host, addrs: slices.Clone(addrs), ended: time.Now(), err: err}
	switch {
	case r.connections == 0:
		r.lookup = &l
	case r.lookup == nil || r.lookup.host != host: // it is not for another connection
		r.furtherLookups = append(r.furtherLookups, furtherLookup{l, r.lastStep})
	}
}

func (r *recording) connecting(addr string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if attempts := r.currentAttempts(); !r.finished {
		*attempts = append(*attempts, connectAttempt{addr: addr, started: time.Now()})
	}
}

func (r *recording) connected(addr string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil && (r.connections == 0 || r.settled) { // not an attempt that lost the race
		r.connections++
		r.lastStep = time.Now()
	}
	attempts := *r.currentAttempts()
	for i, a := range attempts {
		if !r.finished && a.addr == addr && a.ended.IsZero() {
			attempts[i].ended, attempts[i].err = time.Now(), err
			return
		}
	}
}

// currentAttempts returns the attempts for the connection that is being made.
func (r *recording) currentAttempts() *[]connectAttempt {
	if r.settled {
		return &r.furtherAttempts
	}
	return &r.attempts
}

func (r *recording) secured(h *client.TLSHandshake) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tls = append(r.tls, recordedTLS{h, len(r.exchanges)})
	r.settled, r.lastStep = true, time.Now() // the race for the first connection is over
}

func (r *recording) spoken(m *client.SOCKSMessage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.socks = append(r.socks, recordedSOCKS{m, len(r.exchanges), r.connections})
	r.settled, r.lastStep = true, time.Now() // the race for the first connection is over
}

func (r *recording) exchanged(x *client.Exchange) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.exchanges = append(r.exchanges, recordedExchange{x, time.Now(), r.reads, r.left, r.connections})
	r.reads, r.keptBytes, r.left = nil, 0, ""
	r.settled, r.lastStep = true, time.Now() // the race for the first connection is over
}

// framed records a frame.
func (r *recording) framed(f client.Frame) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.finished && len(r.frames) < maxFrames {
		r.frames = append(r.frames, f)
	}
}

// maxFrames bounds what is kept of a proxy that sends frames without end.
const maxFrames = 1000

// framesOf returns the frames exchanged with a hop.
func (r *recording) framesOf(hop tunnel.Hop) []client.Frame {
	var out []client.Frame
	for _, f := range r.frames {
		if f.Hop == hop {
			out = append(out, f)
		}
	}
	return out
}

// targetHandshake returns the handshake with the target, successful or not; nil =
// there was none.
func (r *recording) targetHandshake() *client.TLSHandshake {
	if n := len(r.tls); n > 0 && r.tls[n-1].Inside() {
		return r.tls[n-1].TLSHandshake
	}
	return nil
}

// times says how long the steps took until TLS with the target was done. The
// proxy's times are left out where there are several proxies, since the way to the
// last one is not known then, and where credentials were asked for first.
func (r *recording) times(h *client.TLSHandshake, hops int) interception.Times {
	t := interception.Times{Opening: h.Ended.Sub(r.started)}
	if hops != 1 || len(r.exchanges) != 1 || h.State.Version < tls.VersionTLS13 { // earlier versions need two round trips
		return t
	}
	for _, a := range r.attempts {
		if a.err == nil && !a.ended.IsZero() {
			t.Proxy = a.ended.Sub(a.started)
		}
	}
	x := r.exchanges[0]
	t.Reply, t.Handshake = x.FirstIn.Sub(x.Sent), h.Ended.Sub(h.Started)
	return t
}

// finish ends the recording. After it the recording may be read without its lock.
func (r *recording) finish() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settled, r.finished, r.tapsClosed = true, true, true
}

// Bytes of further reads than maxSegments are added to the last segment.
const maxSegments = 4096

// segment is what one read returned: over TCP, one segment or several that arrived
// close together.
type segment struct {
	at    time.Time
	bytes []byte
}

// read records what a read returned for the current exchange, and how the
// connection ended. It keeps all that a Client reads of one exchange, so that a
// transcript is complete.
func (r *recording) read(b []byte, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left == "" {
		r.left = leftBy(err)
	}
	if b = b[:min(len(b), client.MaxExchangeBytes-r.keptBytes)]; len(b) == 0 || r.finished {
		return
	}
	r.keptBytes += len(b)
	if n := len(r.reads); n == maxSegments {
		r.reads[n-1].bytes = append(r.reads[n-1].bytes, b...)
		return
	}
	r.reads = append(r.reads, segment{time.Now(), bytes.Clone(b)})
}

// leftBy says how a proxy left a connection on which a read failed with err; "" =
// it did not leave.
func leftBy(err error) string {
	switch {
	case neterr.Reset(err):
		return leftReset
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, client.ErrTruncated):
		return leftClosed
	}
	return ""
}

// How the proxy left a connection, in Exchange.Left.
const (
	leftClosed = "closed"
	leftReset  = "reset"
	leftOpen   = "open"
)

// leftAs says how the proxy left the connection of an exchange; "" = the connection
// went on, or became a tunnel.
func (x *recordedExchange) leftAs(goesOn bool) string {
	switch {
	case x.Err == nil, goesOn:
		return ""
	case x.left == "":
		return leftOpen
	}
	return x.left
}
