package probe

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// newProgress returns a Progress on a terminal with that many columns.
func newProgress(columns int) *Progress {
	return &Progress{out: &strings.Builder{}, width: func() int { return columns }}
}

// drawn returns what was written to the terminal.
func drawn(p *Progress) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.(*strings.Builder).String()
}

// A wait is shown after two seconds, and every second from then on, until Wipe.
func TestProgressOfAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProgress(80)
		p.Waiting("the address of p.example")
		time.Sleep(1900 * time.Millisecond)
		p.Waiting("p.example:3128 to answer")
		synctest.Wait()
		if drawn(p) != "" {
			t.Errorf("within two seconds: %q", drawn(p))
		}
		time.Sleep(2200 * time.Millisecond) // to 4.1 s
		p.Waiting("TLS\x1b[2J")
		time.Sleep(time.Second)
		p.Wipe()
		time.Sleep(time.Minute)
		synctest.Wait()
		want := "\r\x1b[Kwaiting 0 s for p.example:3128 to answer" + "\r\x1b[Kwaiting 1 s for p.example:3128 to answer" + "\r\x1b[Kwaiting 2 s for p.example:3128 to answer" +
			"\r\x1b[Kwaiting 0 s for TLS [2J" + "\r\x1b[Kwaiting 1 s for TLS [2J" + "\r\x1b[K"
		if got := drawn(p); got != want {
			t.Errorf("%q\nwant\n%q", got, want)
		}
	})
}

// The two seconds start again after Wipe.
func TestProgressBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProgress(80)
		for range 10 {
			p.Waiting("a try")
			time.Sleep(1500 * time.Millisecond)
			p.Wipe()
			time.Sleep(time.Second)
		}
		if synctest.Wait(); drawn(p) != "" {
			t.Errorf("%q", drawn(p))
		}
	})
}

// A line never fills the width of the terminal: Wipe could not remove all of it.
func TestProgressFitsTheTerminal(t *testing.T) {
	p := newProgress(12)
	p.show("3 of 7: a-long-name")
	if want := "\r\x1b[K3 of 7: a-l"; drawn(p) != want {
		t.Errorf("%q, want %q", drawn(p), want)
	}
	p.Wipe()
	p.Wipe()
	if want := "\r\x1b[K3 of 7: a-l\r\x1b[K"; drawn(p) != want {
		t.Errorf("wiped: %q, want %q", drawn(p), want)
	}
}

func TestNoProgress(t *testing.T) {
	var p *Progress
	p.Waiting("nothing")
	p.show("nothing")
	p.Wipe()
}

// Several goroutines may call Waiting at once.
func TestProgressOfManyGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProgress(80)
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				for range 20 {
					p.Waiting("one of many")
					time.Sleep(200 * time.Millisecond)
				}
			})
		}
		all.Wait()
		p.Wipe()
		if got := drawn(p); !strings.HasSuffix(got, "many\r\x1b[K") {
			t.Errorf("%q", got)
		}
	})
}
