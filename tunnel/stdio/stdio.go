// Package stdio is the near end of dial: it connects an open tunnel to the program's
// standard input and output, to a command, or to the process that gets the tunnel's
// socket handed over.
//
// Tunnel.Relay copies between a tunnel and two streams, without copying bytes where
// splice(2) can move them. Exec runs a command inside the tunnel. HandOver passes the
// socket of a tunnel on, as ssh's ProxyUseFdpass wants it; HandOverRelay does so for a
// tunnel that is more than a socket, by means of a second process, the RelayProcess.
// WhenAbandoned notices that the program was left alone.
//
// Package stdio opens no tunnels and prints nothing. It imports neither probe nor
// explain.
package stdio

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/sock"
)

// OnEOF says what end of file on the input does to a tunnel.
type OnEOF string

// The values of OnEOF.
const (
	// EOFHalfClose passes end of file on. The target may go on answering.
	EOFHalfClose OnEOF = "half-close"

	// EOFWait does not pass end of file on, because some proxies then drop the
	// answer. Once the output has no reader any more it acts as EOFClose.
	EOFWait OnEOF = "wait"

	// EOFClose ends the tunnel.
	EOFClose OnEOF = "close"
)

// ErrOutputClosed means that the output has no reader any more.
var ErrOutputClosed = errors.New("the output was closed")

// bufferSize is the size of one read: twice what a pipe holds.
const bufferSize = 128 << 10

// Tunnel is an open tunnel together with the input and output of a program. Every
// field but OnEOF is required.
type Tunnel struct {
	Conn *client.Conn // closed by Relay

	// In and Out may be files, pipes, terminals or sockets. Relay changes no flag of
	// their descriptors, and does not close them.
	In  io.Reader
	Out io.Writer

	OnEOF OnEOF // what end of file on In does; "" = EOFHalfClose
}

// Result says what went through a tunnel.
type Result struct {
	Up, Down   int64 // bytes written to the tunnel, and to the output
	HalfClosed bool  // end of file on the input was passed on
	After      int64 // the bytes of Down that came after that
}

// Relay copies both ways until the target has ended and everything it sent has been
// written to Out, whatever the input does: a read of In that is blocked then stays
// behind until In ends. Relay closes Conn.
//
// If the tunnel was reset, the error is a *tunnel.Error of PhaseRelay. If a write to
// Out failed, it is ErrOutputClosed or wraps the error of the write; if a read of In
// failed, it wraps the error of the read.
func (s *Tunnel) Relay() (Result, error) {
	r := relaying{Tunnel: s}
	return r.run()
}

func (r *relaying) run() (Result, error) {
	go r.copyUp()
	err := r.copyDown()
	r.stopUp()
	r.Conn.Close()
	result := Result{Up: r.up.Load(), Down: r.down, HalfClosed: r.halfClosed.Load(), After: r.after}
	switch {
	case r.inErr != nil:
		return result, fmt.Errorf("reading the input: %w", r.inErr)
	case r.inEnded:
		return result, nil
	case err == nil && neterr.Reset(r.upErr) && !errors.Is(r.upErr, syscall.EPIPE):
		// The reset was reported to the writer, and the reader then got end of file.
		// EPIPE does not mean a reset: the target had ended in order before.
		err = r.upErr
	case err == nil:
		return result, nil
	}
	var out outputError
	if errors.As(err, &out) {
		if outputClosed(out.error) {
			return result, ErrOutputClosed
		}
		return result, fmt.Errorf("writing the output: %w", out.error)
	}
	return result, &tunnel.Error{
		Phase: tunnel.PhaseRelay, Type: tunnel.ErrorConnectionTerminated,
		Target: r.Conn.Target(), Hop: r.Conn.LastHop(), Err: neterr.Plain(err),
	}
}

// outputError is an error of a write to Out, not of the tunnel.
type outputError struct{ error }

// relaying is one call of Relay.
type relaying struct {
	*Tunnel
	down, after int64
	up          atomic.Int64
	halfClosed  atomic.Bool
	spliced     struct { // the part of up and down that was spliced, for tests
		up   atomic.Int64
		down int64
	}

	// writing is held during writes to Conn, so that stopUp waits for a write, but
	// not for a read of In. It guards the fields below.
	writing sync.Mutex
	stopped bool   // there must be no more writes
	upErr   error  // of a write to Conn
	inErr   error  // of a read of In
	inEnded bool   // the end of In ended the tunnel
	unwatch func() // ends the watch of Out that EOFWait began; nil = there is none
}

// copyDown copies from the tunnel to Out. The tunnel is over when it returns.
func (r *relaying) copyDown() error {
	if early := r.Conn.TakeEarly(); len(early) > 0 {
		if err := r.deliver(early); err != nil {
			return err
		}
	}
	if over, err := r.spliceDown(); over {
		return err
	}
	buf := make([]byte, bufferSize)
	for {
		n, err := r.Conn.Read(buf)
		if n > 0 {
			if err := r.deliver(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// deliver writes to Out.
func (r *relaying) deliver(b []byte) error {
	after := r.halfClosed.Load()
	n, err := r.Out.Write(b)
	r.delivered(n, after)
	if err != nil {
		return outputError{err}
	}
	return nil
}

// delivered counts n bytes written to Out. after says that they came after the
// half-close.
func (r *relaying) delivered(n int, after bool) {
	if after {
		r.after += int64(n)
	}
	r.down += int64(n)
}

// copyUp copies from In to the tunnel.
func (r *relaying) copyUp() {
	if r.spliceUp() {
		return
	}
	buf := make([]byte, bufferSize)
	for {
		n, err := r.In.Read(buf)
		if n > 0 && !r.write(buf[:n]) {
			return
		}
		if err != nil {
			r.endUp(err)
			return
		}
	}
}

// write writes to the tunnel, and reports whether to go on. After a failure copyDown
// is about to find the reason.
func (r *relaying) write(b []byte) bool {
	r.writing.Lock()
	defer r.writing.Unlock()
	if r.stopped {
		return false
	}
	n, err := r.Conn.Write(b)
	r.up.Add(int64(n))
	r.upErr = err
	return err == nil
}

// endUp acts on the end of In.
func (r *relaying) endUp(err error) {
	r.writing.Lock()
	defer r.writing.Unlock()
	switch {
	case r.stopped:
	case err != io.EOF:
		r.inErr = err
		r.Conn.SetReadDeadline(sock.Past)
	case r.OnEOF == EOFWait:
		if out, ok := r.Out.(*os.File); ok {
			r.unwatch = WhenAbandoned(nil, out, r.abandoned)
		}
	case r.OnEOF == EOFClose:
		r.closeUp()
	default:
		// The flag is set first, because the answer may come before CloseWrite
		// returns.
		r.halfClosed.Store(true)
		if r.Conn.CloseWrite() != nil {
			r.halfClosed.Store(false)
		}
	}
}

// closeUp ends the tunnel because In has ended. The caller holds writing.
func (r *relaying) closeUp() {
	r.inEnded = true
	// A close with unread bytes would be a reset, which can overtake the bytes that
	// were sent. CloseWrite is orderly.
	r.Conn.CloseWrite()
	r.Conn.SetReadDeadline(sock.Past)
}

// abandoned ends a tunnel whose input has ended and whose output has no reader. The
// target, which was not told of the end of file, could wait for ever.
func (r *relaying) abandoned() {
	r.writing.Lock()
	defer r.writing.Unlock()
	if !r.stopped {
		r.closeUp()
	}
}

// stopUp ends the way up: it interrupts a write that waits for the target, and lets no
// further write begin.
func (r *relaying) stopUp() {
	r.Conn.SetWriteDeadline(sock.Past)
	r.writing.Lock()
	r.stopped = true
	unwatch := r.unwatch
	r.writing.Unlock()
	if unwatch != nil {
		unwatch() // writing is not held, because a check that is under way may need it
	}
}
