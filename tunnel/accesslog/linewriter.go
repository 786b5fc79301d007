package accesslog

import (
	"io"
	"sync"
	"time"
)

// The limits of a LineWriter.
const (
	lineWriterPause = 5 * time.Millisecond // the shortest time between two writes
	lineWriterBytes = 1 << 20              // bytes that may wait to be written
)

// LineWriter writes log lines to a slower writer on a goroutine of its own: the first
// line at once, and the lines of the next five milliseconds together. So a busy proxy
// writes hundreds of times a second, not thousands, and no tunnel waits for a disk.
// Write blocks while 1 MiB is waiting to be written. Its methods are safe for
// concurrent use.
type LineWriter struct {
	w      io.Writer
	mu     sync.Mutex
	filled *sync.Cond // lines is not empty, or the LineWriter is closed
	room   *sync.Cond // lines was taken to be written
	lines  []byte
	closed bool
	ended  chan struct{}
}

// NewLineWriter starts a LineWriter that writes to w, from one goroutine. The caller
// closes it, and then w.
func NewLineWriter(w io.Writer) *LineWriter {
	l := &LineWriter{w: w, ended: make(chan struct{})}
	l.filled, l.room = sync.NewCond(&l.mu), sync.NewCond(&l.mu)
	go l.run()
	return l
}

// Write takes one or more complete lines. Before Close it returns no error: errors of
// the underlying writer are not reported here, but by a Writer around it.
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

// Close writes the lines that are waiting, waits until they are written, and stops
// the goroutine. It does not close the underlying writer.
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
			_, _ = l.w.Write(batch) // Writer reports errors
		}
		if closed {
			return
		}
		if cap(batch) > lineWriterBytes/4 {
			batch = nil // a burst made it large: let it go
		}
		time.Sleep(lineWriterPause)
	}
}
