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

// OnEOF is what end of file on the input does to a tunnel.
type OnEOF string

// What can be done about end of file on the input.
const (
	EOFHalfClose OnEOF = "half-close" // passed on; the target may go on answering
	EOFWait      OnEOF = "wait"       // not passed on, some proxies drop the answer then; as close once nobody reads the output
	EOFClose     OnEOF = "close"      // ends the tunnel
)

// ErrOutputClosed is Tunnel's when nobody reads the output any more.
var ErrOutputClosed = errors.New("the output was closed")

// stdioBuffer is one read's size: what a pipe holds, twice.
const stdioBuffer = 128 << 10

// Tunnel relays between an open tunnel and a program's input and output. Every
// field but OnEOF is required.
type Tunnel struct {
	Conn *client.Conn
	// In and Out may be files, pipes, terminals or sockets. No flag of their
	// descriptors is changed.
	In    io.Reader
	Out   io.Writer
	OnEOF OnEOF // "" = EOFHalfClose
}

// Result is what went through a tunnel.
type Result struct {
	Up, Down   int64 // bytes given to the tunnel, and to the output
	HalfClosed bool  // end of file on the input was passed on ...
	After      int64 // ... and so many bytes came down behind it
}

// Relay copies both ways until the target has ended and everything it sent is
// in Out, whatever the input does: a read of In that is blocked then is left
// behind, and only ends when In does. Conn is closed on return.
//
// A reset is an *Error of PhaseRelay; a failed write to Out is ErrOutputClosed
// or what the system says, a failed read of In the latter.
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
		// The reset was reported to the writer, and a reader then sees end of
		// file. EPIPE is no sign of one: the target had ended in order.
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

// outputError is an error of Out, not of the tunnel.
type outputError struct{ error }

// relaying is one Relay at work.
type relaying struct {
	*Tunnel
	down, after int64
	up          atomic.Int64
	halfClosed  atomic.Bool
	spliced     struct { // of up and down
		up   atomic.Int64
		down int64
	}

	// writing is held during writes to Conn, so that stopUp can wait for one
	// that is under way but not for a read of In.
	writing sync.Mutex
	stopped bool  // no more writes; guarded by writing
	upErr   error // of a write to Conn; guarded by writing
	inErr   error // of a read of In; guarded by writing
	inEnded bool  // In ended the tunnel: EOFClose; guarded by writing

	unwatch func() // of Out behind an EOFWait; nil = it is not watched; guarded by writing
}

// copyDown copies from the tunnel to Out. It is the way that decides when a
// tunnel is over.
func (r *relaying) copyDown() error {
	if early := r.Conn.TakeEarly(); len(early) > 0 {
		if err := r.deliver(early); err != nil {
			return err
		}
	}
	if over, err := r.spliceDown(); over {
		return err
	}
	buf := make([]byte, stdioBuffer)
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
	behind := r.halfClosed.Load()
	n, err := r.Out.Write(b)
	r.delivered(n, behind)
	if err != nil {
		return outputError{err}
	}
	return nil
}

// delivered counts n bytes given to Out, which came behind a half-close or not.
func (r *relaying) delivered(n int, behind bool) {
	if behind {
		r.after += int64(n)
	}
	r.down += int64(n)
}

// copyUp copies from In to the tunnel.
func (r *relaying) copyUp() {
	if r.spliceUp() {
		return
	}
	buf := make([]byte, stdioBuffer)
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

// write reports whether to go on. Where the tunnel takes no more, copyDown is
// about to see why.
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
		// Before, not after: the answer may be quicker than this goroutine.
		r.halfClosed.Store(true)
		if r.Conn.CloseWrite() != nil {
			r.halfClosed.Store(false)
		}
	}
}

// closeUp is the end of a tunnel by In's, with writing held.
func (r *relaying) closeUp() {
	r.inEnded = true
	// In order: a close with unread bytes would be a reset, which can overtake
	// what was sent.
	r.Conn.CloseWrite()
	r.Conn.SetReadDeadline(sock.Past)
}

// abandoned ends a tunnel whose input has ended and whose answer nobody reads:
// a target that is not told of the end could wait for ever.
func (r *relaying) abandoned() {
	r.writing.Lock()
	defer r.writing.Unlock()
	if !r.stopped {
		r.closeUp()
	}
}

// stopUp ends the way up: a write that waits for the target is interrupted,
// and no further one begins.
func (r *relaying) stopUp() {
	r.Conn.SetWriteDeadline(sock.Past)
	r.writing.Lock()
	r.stopped = true
	unwatch := r.unwatch
	r.writing.Unlock()
	if unwatch != nil {
		unwatch() // without writing, which a last look may want
	}
}
