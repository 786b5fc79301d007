package accesslog

import (
	"io"
	"sync"
	"time"
)

// Bounds of a LineWriter.
const (
	lineWriterPause = 5 * time.Millisecond // at least, between two writes
	lineWriterBytes = 1 << 20              // waiting to be written
)

// LineWriter writes log lines to a slower writer, on a goroutine of its own:
// the first at once, those that come within the next milliseconds together.
// A busy proxy then writes hundreds of times a second, not thousands, and no
// tunnel waits for a disk. If 1 MiB waits, Write waits as well.
type LineWriter struct {
	w      io.Writer
	mu     sync.Mutex
	filled *sync.Cond // there is something to write, or nothing more to come
	room   *sync.Cond // what waited was taken
	lines  []byte
	closed bool
	ended  chan struct{}
}

// NewLineWriter starts a LineWriter. The caller closes it; w stays the
// caller's, and is only used by one goroutine at a time.
func NewLineWriter(w io.Writer) *LineWriter {
	l := &LineWriter{w: w, ended: make(chan struct{})}
	l.filled, l.room = sync.NewCond(&l.mu), sync.NewCond(&l.mu)
	go l.run()
	return l
}

// Write takes a line, or several. It never fails before Close: what becomes of
// the lines is between the writer below and whoever listens to its errors.
func (l *LineWriter) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.lines) >= lineWriterBytes && !l.closed {
		l.room.Wait()
	}
	if l.closed {
		return 0, io.ErrClosedPipe
	}
	l.lines = append(l.lines, line...)
	l.filled.Signal()
	return len(line), nil
}

// Close writes what there is and waits for that.
func (l *LineWriter) Close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.filled.Signal()
	l.room.Broadcast()
	<-l.ended
	return nil
}

func (l *LineWriter) run() {
	defer close(l.ended)
	var batch []byte
	for {
		l.mu.Lock()
		for len(l.lines) == 0 && !l.closed {
			l.filled.Wait()
		}
		batch, l.lines = l.lines, batch[:0]
		closed := l.closed
		l.mu.Unlock()
		l.room.Broadcast()
		if len(batch) > 0 {
			_, _ = l.w.Write(batch) // whose errors are told below
		}
		if closed {
			return
		}
		if cap(batch) > lineWriterBytes/4 {
			batch = nil // a burst's
		}
		time.Sleep(lineWriterPause)
	}
}
