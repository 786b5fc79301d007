package probe

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"culvert/tunnel/cli/args"

	"golang.org/x/term"
)

// progressAfter is how long a wait must last to be shown.
const progressAfter = 2 * time.Second

// Progress is a line on a terminal that shows what the program is doing. It is
// rewritten in place, and must be wiped before anything else is printed. A nil Progress
// shows nothing. Its methods may be called by several goroutines at once.
type Progress struct {
	out   io.Writer
	width func() int // in columns

	mu    sync.Mutex
	shown bool        // the line is on the terminal
	what  string      // what the program waits for; "" = nothing
	since time.Time   // when it began to wait for that
	from  time.Time   // when the first wait since Wipe began
	tick  *time.Timer // draws the line; nil = there has been no wait
}

// NewProgress returns a Progress on f, nil if f is not a terminal that can wipe a line.
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

// show shows a text at once.
func (p *Progress) show(text string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.draw(text)
}

// Waiting sets what the program waits for from now on. It is shown, with the time, once
// the program has waited for progressAfter since the last Wipe. Waiting fits
// client.Trace.
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

// again draws the line and sets the timer for the next second.
func (p *Progress) again() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.what == "" || time.Since(p.from) < progressAfter { // wiped in the meantime
		return
	}
	p.drawWait()
	p.tick.Reset(time.Second)
}

func (p *Progress) drawWait() {
	// The time comes first, where a narrow terminal does not cut it off.
	p.draw(fmt.Sprintf("waiting %d s for %s", int(time.Since(p.since).Round(time.Second)/time.Second), p.what))
}

// draw replaces the line. The last column stays free, since a line that wraps cannot be
// wiped.
func (p *Progress) draw(text string) {
	line := []rune(args.Printable(text))
	line = line[:min(len(line), max(p.width()-1, 0))]
	fmt.Fprintf(p.out, "\r\x1b[K%s", string(line))
	p.shown = true
}

// Wipe removes the line and ends the wait.
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
