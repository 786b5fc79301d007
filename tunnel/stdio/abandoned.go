package stdio

import (
	"os"
	"sync"
	"time"
)

// abandonedEvery is the interval of the checks whether the program was abandoned. A
// short run ends before the first.
const abandonedEvery = 300 * time.Millisecond

// WhenAbandoned calls then, once, when out has lost its reader and in has lost its
// writer: the process that started the program is gone, for example an ssh that was
// killed. A nil in counts as one without a writer. Both have to be pipes or sockets; for other files,
// and on systems that are not unix, then is never called. It is not called after stop
// has returned.
func WhenAbandoned(in, out *os.File, then func()) (stop func()) {
	w := &abandonedWatch{in: in, out: out, then: then}
	w.mu.Lock() // the first check needs the timer
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(abandonedEvery, w.check)
	return w.stop
}

// abandonedWatch is the state of one call of WhenAbandoned.
type abandonedWatch struct {
	in, out *os.File
	then    func()
	timer   *time.Timer

	mu      sync.Mutex
	stopped bool
}

func (w *abandonedWatch) check() {
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

// stop ends the watch. It waits for a check that is under way.
func (w *abandonedWatch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	w.timer.Stop()
}
