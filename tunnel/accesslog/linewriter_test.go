package accesslog

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// sink records what is written to it, and can be made to block and to fail.
type sink struct {
	mu     sync.Mutex
	writes []string
	hold   chan struct{} // each write waits for it; nil = no write waits
	room   int           // bytes that it takes before it fails; negative = any number
	err    error         // of a write that finds no room
	closed chan struct{}
}

func newSink() *sink { return &sink{room: -1, closed: make(chan struct{})} }

func (s *sink) Write(b []byte) (int, error) {
	if s.hold != nil {
		select {
		case <-s.hold:
		case <-s.closed:
			return 0, io.ErrClosedPipe
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(b)
	if s.room >= 0 {
		n = min(n, s.room)
		s.room -= n
	}
	if n > 0 {
		s.writes = append(s.writes, string(b[:n]))
	}
	if n < len(b) {
		return n, s.err
	}
	return n, nil
}

func (s *sink) Close() error { close(s.closed); return nil }

// fill makes the sink fail with err after room more bytes; negative = never.
func (s *sink) fill(room int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.room, s.err = room, err
}

func (s *sink) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

func (s *sink) text() string { return strings.Join(s.all(), "") }

func (s *sink) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// soon waits until the LineWriter has written what it can.
func soon() {
	time.Sleep(4 * lineWriterPause)
	synctest.Wait()
}

// withoutTimes returns a log in which every line that tells of lost lines is <N>.
func withoutTimes(log string) string {
	return regexp.MustCompile(`time=\S+ level=WARN msg="(\d+) lines? lost" lost=\d+\n`).ReplaceAllString(log, "<$1>")
}

// The first line is written at once, and the next ones together. All are in order,
// and Close loses none.
func TestLineWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSink()
		l := NewLineWriter(w, LineOptions{})
		fmt.Fprint(l, "first\n")
		synctest.Wait()
		if got := w.all(); len(got) != 1 || got[0] != "first\n" {
			t.Fatalf("after one line: %q", got)
		}
		fmt.Fprint(l, "second\n")
		fmt.Fprint(l, "third\n")
		soon()
		if got := w.all(); len(got) != 2 || got[1] != "second\nthird\n" {
			t.Fatalf("after a pause: %q", got)
		}
		fmt.Fprint(l, "last\n")
		if lost := l.Close(time.Minute); lost != 0 {
			t.Errorf("%d lines lost", lost)
		}
		if got := w.all(); len(got) != 3 || got[2] != "last\n" {
			t.Errorf("after Close: %q", got)
		}
		if !w.isClosed() {
			t.Error("the writer was not closed")
		}
		if _, err := fmt.Fprint(l, "too late\n"); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("a line after Close: %v", err)
		}
	})
}

// While nothing can be written Write drops lines at a bound, and does not wait. What was
// dropped is told in its place.
func TestLineWriterDropsWhatNobodyReads(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		synctest.Test(t, func(t *testing.T) {
			w := newSink()
			w.hold = make(chan struct{})
			behind := 0
			l := NewLineWriter(w, LineOptions{Format: format, Behind: func() { behind++ }})
			line := strings.Repeat("x", 64<<10-1) + "\n"
			const lines = 1000 // 62 MiB
			for range lines {
				io.WriteString(l, line) // a Write that waits would end the test as a deadlock
			}
			synctest.Wait()
			if behind != 1 {
				t.Errorf("it was said %d times", behind)
			}
			close(w.hold)
			soon()
			fmt.Fprint(l, "after\n")
			if lost := l.Close(time.Minute); lost != 0 {
				t.Errorf("%d lines lost at the end", lost)
			}
			got := strings.SplitAfter(w.text(), "\n")
			kept := 0
			for kept < len(got) && got[kept] == line {
				kept++
			}
			if size := kept * len(line); size < lineWriterBytes || size > 2*lineWriterBytes { // twice: one batch may be under way
				t.Errorf("%d bytes were kept", size)
			}
			if len(got) != kept+3 || got[kept+1] != "after\n" {
				t.Fatalf("behind %d lines: %.200q", kept, got[kept:])
			}
			want := fmt.Sprintf("%d lines lost", lines-kept)
			if format == "json" {
				var record struct {
					Msg  string
					Lost int
				}
				if err := json.Unmarshal([]byte(got[kept]), &record); err != nil || record.Msg != want || record.Lost != lines-kept {
					t.Errorf("%q: %v, want %q", got[kept], err, want)
				}
			} else if !strings.Contains(got[kept], strconv.Quote(want)) {
				t.Errorf("%q, want %q", got[kept], want)
			}
		})
	}
}

// Close does not wait for a reader that does not read.
func TestLineWriterCloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSink()
		w.hold = make(chan struct{})
		l := NewLineWriter(w, LineOptions{})
		fmt.Fprint(l, "one\n")
		synctest.Wait()
		fmt.Fprint(l, "two\nthree\n")
		start := time.Now()
		if lost := l.Close(time.Second); lost != 3 {
			t.Errorf("%d lines lost", lost)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// On a full disk lines are lost and counted. The line that was cut in two is completed
// when there is room, so that no line is torn.
func TestLineWriterOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSink()
		var said []string
		l := NewLineWriter(w, LineOptions{
			Broken: func(err error) { said = append(said, err.Error()) },
			Mended: func() { said = append(said, "mended") },
		})
		w.fill(len("one\ntw"), syscall.ENOSPC)
		for _, line := range []string{"one\n", "two\n", "three\n", "four\nfive\n"} {
			fmt.Fprint(l, line)
			soon()
		}
		w.fill(-1, nil)
		fmt.Fprint(l, "six\n")
		if lost := l.Close(time.Minute); lost != 0 {
			t.Errorf("%d lines lost at the end", lost)
		}
		if got, want := withoutTimes(w.text()), "one\ntwo\n<3>six\n"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if got := strings.Join(said, ", "); got != syscall.ENOSPC.Error()+", mended" {
			t.Errorf("it said %s", got)
		}
	})
}

// A disk that stays full: Close tells how many lines are on none.
func TestLineWriterThatIsNeverMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSink()
		l := NewLineWriter(w, LineOptions{})
		w.fill(3, syscall.ENOSPC)
		fmt.Fprint(l, "torn in two\n")
		soon()
		fmt.Fprint(l, "lost\nlost\n")
		if lost := l.Close(time.Minute); lost != 3 {
			t.Errorf("%d lines lost", lost)
		}
	})
}

// A pipe that another program has made non-blocking is waited for.
func TestLineWriterOnAPipeThatDoesNotBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSink()
		l := NewLineWriter(w, LineOptions{Broken: func(err error) { t.Error(err) }})
		w.fill(2, syscall.EAGAIN)
		fmt.Fprint(l, "one\ntwo\n")
		soon()
		if got := w.text(); got != "on" {
			t.Fatalf("%q", got)
		}
		w.fill(-1, nil)
		if lost := l.Close(time.Minute); lost != 0 || w.text() != "one\ntwo\n" {
			t.Errorf("%q, %d lost", w.text(), lost)
		}
	})
}

// A log file that is reopened loses no line, and no line is in both files.
func TestLineWriterReplace(t *testing.T) {
	old, next := newSink(), newSink()
	l := NewLineWriter(old, LineOptions{})
	const lines = 10_000
	for i := range lines {
		fmt.Fprintln(l, i)
		if i == lines/2 {
			l.Replace(next)
		}
	}
	if lost := l.Close(time.Minute); lost != 0 {
		t.Errorf("%d lines lost", lost)
	}
	var want strings.Builder
	for i := range lines {
		fmt.Fprintln(&want, i)
	}
	if got := old.text() + next.text(); got != want.String() {
		t.Errorf("%d bytes in the two files, want %d", len(got), want.Len())
	}
	if !old.isClosed() || !next.isClosed() {
		t.Error("a file was not closed")
	}
}

// Replace ends a write that waits, and what was not written goes to the next writer,
// without the rest of a line whose beginning is in the first.
func TestLineWriterReplacesAWriterThatFails(t *testing.T) {
	for name, fail := range map[string]func(*sink){
		"stalled": func(s *sink) { s.hold = make(chan struct{}) },
		"full":    func(s *sink) { s.fill(2, syscall.ENOSPC) },
		"closed":  func(s *sink) { s.fill(0, syscall.EBADF) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				old, next := newSink(), newSink()
				fail(old)
				l := NewLineWriter(old, LineOptions{})
				fmt.Fprint(l, "one\n")
				soon()
				l.Replace(next)
				fmt.Fprint(l, "two\n")
				if lost := l.Close(time.Minute); lost != 0 {
					t.Errorf("%d lines lost at the end", lost)
				}
				want := "<1>two\n"
				if name == "stalled" {
					want = "one\ntwo\n"
				}
				if got := withoutTimes(next.text()); got != want {
					t.Errorf("%q, want %q", got, want)
				}
			})
		})
	}
}

// Lines longer than a piece stay whole, and so does their order.
func TestLineWriterPieces(t *testing.T) {
	w := newSink()
	l := NewLineWriter(w, LineOptions{})
	var want strings.Builder
	for i := range 20 {
		want.WriteString(strings.Repeat(strconv.Itoa(i%10), i*lineWriterPiece/10) + "\n")
	}
	io.WriteString(l, want.String())
	if lost := l.Close(time.Minute); lost != 0 || w.text() != want.String() {
		t.Errorf("%d bytes of %d, %d lines lost", len(w.text()), want.Len(), lost)
	}
	for _, piece := range w.all() {
		if !strings.HasSuffix(piece, "\n") {
			t.Errorf("a piece of %d bytes ends in a line", len(piece))
		}
	}
}
