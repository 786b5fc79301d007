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

// progressAfter is how long a wait lasts before it is shown.
const progressAfter = 2 * time.Second

// Progress is a line on a terminal that shows what the program is doing. It is
// rewritten in place, and wiped before anything else is printed. A nil Progress
// shows nothing.
type Progress struct {
	out   io.Writer
	width func() int // columns

	mu    sync.Mutex
	shown bool        // the line is on the terminal
	what  string      // what the program waits for; "" = nothing
	since time.Time   // when it began to wait for that
	from  time.Time   // when the first of these waits began
	tick  *time.Timer // draws the line; nil = it never waited
}

// NewProgress returns nil if f is not a terminal, or one that cannot wipe a line.
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

// show shows the text at once.
func (p *Progress) show(text string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.draw(text)
}

// Waiting shows what the program waits for from now on, and for how long, once the
// wait has taken long. It ends with the next wait or Wipe. It fits tunnel.Trace.
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

// again draws the line every second.
func (p *Progress) again() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.what == "" || time.Since(p.from) < progressAfter { // it was wiped meanwhile
		return
	}
	p.drawWait()
	p.tick.Reset(time.Second)
}

func (p *Progress) drawWait() {
	// The time comes first, where a narrow terminal does not cut it off.
	p.draw(fmt.Sprintf("waiting %d s for %s", int(time.Since(p.since).Round(time.Second)/time.Second), p.what))
}

// draw replaces the line. It leaves the last column free: a line that wraps cannot
// be wiped.
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
