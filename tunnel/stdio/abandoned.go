package stdio

import (
	"os"
	"sync"
	"time"
)

// abandonedEvery is how often one looks whether somebody is still there. Quick
// work is over before the first look.
const abandonedEvery = 300 * time.Millisecond

// WhenAbandoned calls then, once, when nobody reads out any more and nobody can
// write to in: whoever started the program is gone, as an ssh that was killed.
// Both may be pipes or sockets, and with others it is never called; nor where the
// system cannot tell. A nil in has ended already. After stop it is not called.
func WhenAbandoned(in, out *os.File, then func()) (stop func()) {
	w := &abandonedWatch{in: in, out: out, then: then}
	w.mu.Lock() // the first look wants the timer
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(abandonedEvery, w.look)
	return w.stop
}

type abandonedWatch struct {
	in, out *os.File
	then    func()
	timer   *time.Timer

	mu      sync.Mutex
	stopped bool
}

func (w *abandonedWatch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.stopped:
	case hungUp(w.out) && (w.in == nil || hungUp(w.in)):
		w.stopped = true
		w.then()
	default:
		w.timer.Reset(abandonedEvery)
	}
}

// stop waits for a call that is under way.
func (w *abandonedWatch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	w.timer.Stop()
}
