package accesslog

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// writeLog records the writes, and blocks each one until the test lets it go on.
type writeLog struct {
	mu     sync.Mutex
	writes []string
	hold   chan struct{} // nil = no write is held up
}

func (w *writeLog) Write(b []byte) (int, error) {
	if w.hold != nil {
		<-w.hold
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writes = append(w.writes, string(b))
	return len(b), errors.New("a writer's error is not a line's")
}

func (w *writeLog) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.writes
}

// The first line is written at once, and the next ones together. All are in order,
// and Close loses none.
func TestLineWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w writeLog
		l := NewLineWriter(&w)
		fmt.Fprint(l, "first\n")
		synctest.Wait()
		if got := w.all(); len(got) != 1 || got[0] != "first\n" {
			t.Fatalf("after one line: %q", got)
		}
		fmt.Fprint(l, "second\n")
		fmt.Fprint(l, "third\n")
		time.Sleep(lineWriterPause)
		synctest.Wait()
		if got := w.all(); len(got) != 2 || got[1] != "second\nthird\n" {
			t.Fatalf("after a pause: %q", got)
		}
		fmt.Fprint(l, "last\n")
		l.Close()
		if got := w.all(); len(got) != 3 || got[2] != "last\n" {
			t.Errorf("after Close: %q", got)
		}
		if _, err := fmt.Fprint(l, "too late\n"); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("a line after Close: %v", err)
		}
	})
}

// Write blocks when lines come faster than they can be written, and none is lost.
func TestLineWriterIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := writeLog{hold: make(chan struct{})}
		l := NewLineWriter(&w)
		line := strings.Repeat("x", 64<<10-1) + "\n"
		const lines = 64 // 4 MiB
		wrote := 0
		go func() {
			for range lines {
				io.WriteString(l, line)
				wrote++
			}
		}()
		synctest.Wait()
		// One batch is being written, another waits.
		if held := wrote * len(line); held > 2*(lineWriterBytes+len(line)) {
			t.Errorf("%d bytes were taken while nothing was written", held)
		}
		close(w.hold)
		time.Sleep(time.Second)
		synctest.Wait()
		l.Close()
		if all := strings.Join(w.all(), ""); all != strings.Repeat(line, lines) {
			t.Errorf("%d bytes arrived of %d", len(all), lines*len(line))
		}
	})
}
