package accesslog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"syscall"
	"time"
)

// The limits of a LineWriter.
const (
	lineWriterPause = 5 * time.Millisecond  // the shortest time between two batches
	lineWriterBytes = 4 << 20               // bytes that may wait to be written
	lineWriterPiece = 64 << 10              // bytes of one write, unless a line is longer
	lineWriterRetry = 10 * time.Millisecond // between two attempts on a full pipe that does not block
)

// LineOptions are what a LineWriter says of itself. Every function may be nil, and must
// not wait: it is called between two writes.
type LineOptions struct {
	Format string // of the line that says how many lines were lost: "text" or "json"

	Behind func()          // called when lines are lost because they come faster than they can be written
	Broken func(err error) // called when a write fails after one that did not; lines are lost
	Mended func()          // called when a write succeeds after one that failed
}

// LineWriter writes log lines to a slower writer on a goroutine of its own: the first
// line at once, and the lines of the next five milliseconds together. So a busy proxy
// writes hundreds of times a second, not thousands, and nothing waits for a disk, or for
// the reader of a pipe.
//
// Write never blocks. While 4 MiB are waiting to be written, or if a write fails, lines
// are dropped and counted. A line with their number stands in their place as soon as it
// can be written. No line is cut in two, unless its writer fails for good. The methods
// are safe for concurrent use.
type LineWriter struct {
	options LineOptions

	mu      sync.Mutex
	w       io.WriteCloser
	lines   []byte        // to be written
	dropped int           // lines that came after them
	writing int           // lines that the goroutine has taken and not yet written
	closed  bool          // no more lines are taken
	wake    chan struct{} // capacity 1: there is something to do
	hurry   chan struct{} // capacity 1: it cannot wait for the end of the pause
	ended   chan struct{} // closed when the goroutine has ended

	// Of the goroutine:
	to        io.WriteCloser // the writer in use; it becomes w between two writes
	torn      []byte         // the rest of a line whose beginning was written to it
	tornLines int            // lines that are lost if it cannot be written
	owed      int            // lost lines that no line tells of yet
	broken    bool           // the last write failed
}

// NewLineWriter starts a LineWriter that writes to w, from one goroutine. The caller
// closes it; it closes w.
func NewLineWriter(w io.WriteCloser, o LineOptions) *LineWriter {
	l := &LineWriter{options: o, w: w, to: w, wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), ended: make(chan struct{})}
	go l.run()
	return l
}

// KeepOpen returns w with a Close that does nothing, for a LineWriter to stderr.
func KeepOpen(w io.Writer) io.WriteCloser { return keptOpen{w} }

type keptOpen struct{ io.Writer }

func (keptOpen) Close() error { return nil }

// Write takes one or more complete lines. Before Close it returns no error.
func (l *LineWriter) Write(line []byte) (int, error) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return 0, io.ErrClosedPipe
	}
	behind := false
	if l.dropped > 0 || len(l.lines)+len(line) > lineWriterBytes {
		behind = l.dropped == 0
		l.dropped += countLines(line)
	} else {
		l.lines = append(l.lines, line...)
	}
	full := len(l.lines) > lineWriterBytes/2
	l.mu.Unlock()
	notify(l.wake)
	if full {
		notify(l.hurry)
	}
	if behind && l.options.Behind != nil {
		l.options.Behind()
	}
	return len(line), nil
}

// Replace makes the lines that are not written yet, and all that follow, go to w, and
// closes the writer before it. A write to that one which blocks is ended, if closing it
// can do that.
func (l *LineWriter) Replace(w io.WriteCloser) {
	l.mu.Lock()
	old := w
	if !l.closed {
		l.w, old = w, l.w
	}
	l.mu.Unlock()
	_ = old.Close() // the writes to it have told their errors
}

// Close takes no more lines, writes those that are waiting, and closes the writer. If
// the lines are not written within patience it gives up. It returns the number of lines
// that were lost and that no line tells of.
func (l *LineWriter) Close(patience time.Duration) (lost int) {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	notify(l.wake)
	notify(l.hurry)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-l.ended:
		lost = l.owed + l.tornLines
	case <-timer.C:
		l.mu.Lock()
		lost = l.writing + countLines(l.lines) + l.dropped
		l.mu.Unlock()
	}
	_ = l.current().Close() // the writes to it have told their errors
	return lost
}

// notify leaves a token in a channel of capacity 1.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func countLines(b []byte) int { return bytes.Count(b, []byte{'\n'}) }

func (l *LineWriter) current() io.WriteCloser {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w
}

// run writes batches of lines until the LineWriter is closed.
func (l *LineWriter) run() {
	defer close(l.ended)
	var batch []byte
	for {
		<-l.wake
		l.mu.Lock()
		batch, l.lines = l.lines, batch[:0]
		dropped, closed := l.dropped, l.closed
		l.dropped, l.writing = 0, countLines(batch)
		l.mu.Unlock()
		l.writeLines(batch)
		l.owed += dropped // they came after the batch
		l.settle()
		if closed {
			return
		}
		if cap(batch) > lineWriterBytes/16 {
			batch = nil // a burst made it large: let it go
		}
		pause := time.NewTimer(lineWriterPause)
		select {
		case <-pause.C:
		case <-l.hurry:
		}
		pause.Stop()
	}
}

// writeLines writes complete lines, in pieces. If a write fails, the rest is lost.
func (l *LineWriter) writeLines(lines []byte) {
	for len(lines) > 0 {
		if !l.settle() {
			break
		}
		piece := lines[:pieceLen(lines)]
		n, result := l.write(piece)
		rest := piece[n:]
		if n > 0 && piece[n-1] != '\n' {
			end := bytes.IndexByte(rest, '\n') + 1
			l.torn, l.tornLines, rest = bytes.Clone(rest[:end]), 1, rest[end:]
		}
		l.wrote(countLines(piece) - countLines(rest))
		lines = lines[len(piece)-len(rest):]
		if result == failed {
			break
		}
	}
	l.owed += countLines(lines)
	l.wrote(countLines(lines))
}

// pieceLen returns the length of the first piece: whole lines of at most
// lineWriterPiece bytes, or one line that is longer.
func pieceLen(lines []byte) int {
	if len(lines) <= lineWriterPiece {
		return len(lines)
	}
	if end := bytes.LastIndexByte(lines[:lineWriterPiece], '\n'); end >= 0 {
		return end + 1
	}
	return bytes.IndexByte(lines, '\n') + 1
}

// wrote counts lines of the batch that need no writing any more.
func (l *LineWriter) wrote(lines int) {
	l.mu.Lock()
	l.writing -= lines
	l.mu.Unlock()
}

// settle writes what has to stand before the next line: the rest of a torn line, and
// how many lines were lost. It reports whether the next line may follow.
func (l *LineWriter) settle() bool {
	for {
		if w := l.current(); w != l.to {
			// The rest of a line has no place in another file.
			l.to, l.owed = w, l.owed+l.tornLines
			l.torn, l.tornLines = nil, 0
		}
		whole := l.torn == nil
		if whole {
			if l.owed == 0 {
				return true
			}
			l.torn = lostLine(l.options.Format, l.owed)
			l.tornLines, l.owed = l.owed, 0
		}
		n, result := l.write(l.torn)
		switch l.torn = l.torn[n:]; {
		case len(l.torn) == 0:
			l.torn, l.tornLines = nil, 0
		case whole && n == 0: // the number may grow until it is written
			l.owed, l.torn, l.tornLines = l.tornLines, nil, 0
		}
		if result == failed {
			return false
		}
	}
}

// result is how a write ended.
type result int

const (
	written  result = iota
	replaced        // the writer was replaced before all was written
	failed
)

// write writes b to the writer in use, and returns how many bytes of it are written.
func (l *LineWriter) write(b []byte) (n int, result result) {
	for {
		wrote, err := l.to.Write(b[n:])
		n += wrote
		switch {
		case err == nil:
			if l.broken && l.options.Mended != nil {
				l.options.Mended()
			}
			l.broken = false
			return n, written
		case l.current() != l.to:
			return n, replaced
		case errors.Is(err, syscall.EAGAIN):
			// A program that has the same pipe or terminal made it non-blocking.
			time.Sleep(lineWriterRetry)
		default:
			if !l.broken && l.options.Broken != nil {
				l.options.Broken(err)
			}
			l.broken = true
			return n, failed
		}
	}
}

// lostLine returns the line that stands in the place of n lines.
func lostLine(format string, n int) []byte {
	message := fmt.Sprintf("%d lines lost", n)
	if n == 1 {
		message = "1 line lost"
	}
	var b bytes.Buffer
	slog.New(NewHandler(&b, format, "info")).LogAttrs(context.Background(), slog.LevelWarn, message, slog.Int("lost", n))
	return b.Bytes()
}
