package audit

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"culvert/tunnel/cli/args"

	"golang.org/x/term"
)

// progressAfter is how long a person waits before they want to know what for.
const progressAfter = 2 * time.Second

// Progress is one line of a terminal that tells what is under way. It is
// rewritten in place, and wiped before anything else is printed. A nil Progress
// shows nothing.
type Progress struct {
	out   io.Writer
	width func() int // columns

	mu    sync.Mutex
	shown bool        // the line stands there
	what  string      // is waited for; "" = nothing
	since time.Time   // it is
	from  time.Time   // the first wait began
	tick  *time.Timer // draws the waits; nil = there was none
}

// NewProgress is nil for what is no terminal, or none that can wipe a line.
func NewProgress(f *os.File) *Progress {
	if !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" {
		return nil
	}
	return &Progress{out: f, width: func() int {
		columns, _, err := term.GetSize(int(f.Fd()))
		if err != nil || columns <= 0 {
			return 80
		}
		return columns
	}}
}

// Show shows the text at once.
func (p *Progress) Show(text string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.draw(text)
}

// Waiting shows, once that takes long, what is waited for from now on, and for
// how long, until the next wait or Wipe. It fits tunnel.Trace.
func (p *Progress) Waiting(what string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.what == "" {
		p.from = time.Now()
		if p.tick == nil {
			p.tick = time.AfterFunc(progressAfter, p.again)
		} else {
			p.tick.Reset(progressAfter)
		}
	}
	p.what, p.since = what, time.Now()
	if p.shown {
		p.drawWait()
	}
}

// again draws the wait every second.
func (p *Progress) again() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.what == "" || time.Since(p.from) < progressAfter { // wiped meanwhile
		return
	}
	p.drawWait()
	p.tick.Reset(time.Second)
}

func (p *Progress) drawWait() {
	// The time stands where a narrow terminal does not cut it off.
	p.draw(fmt.Sprintf("waiting %d s for %s", int(time.Since(p.since).Round(time.Second)/time.Second), p.what))
}

// draw replaces the line. One that filled the last column, or more, could not be
// wiped.
func (p *Progress) draw(text string) {
	line := []rune(args.Printable(text))
	line = line[:min(len(line), max(p.width()-1, 0))]
	fmt.Fprintf(p.out, "\r\x1b[K%s", string(line))
	p.shown = true
}

// Wipe takes the line away, and forgets the wait.
func (p *Progress) Wipe() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tick != nil {
		p.tick.Stop()
	}
	if p.shown {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	p.what, p.shown = "", false
}
