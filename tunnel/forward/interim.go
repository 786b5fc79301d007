package forward

import (
	"net/http"
	"slices"
	"sync"

	"culvert/tunnel/internal/wire"
)

// interim passes interim replies (1xx) to the client: 100 at most once, and none after
// the final reply has begun (RFC 9110, section 10.1.1).
type interim struct {
	mu      sync.Mutex
	wire    Wire
	waits   bool // the client sent Expect: 100-continue and has had no 100
	allowed bool // HTTP/1.1, and the final reply has not begun
	first   bool // a first byte of a reply was read
	coming  bool // a head is being read, the final one unless pass is called
	passed  int  // number of interim replies sent to the client
}

// beforeContent sends 100 if the client waits for it. After a final reply the transport
// may still read the content in order to keep its connection: then nothing is sent.
func (i *interim) beforeContent() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.coming {
		i.sendContinue()
	}
}

// sendContinue sends 100 if the client waits for it. i.mu is held.
func (i *interim) sendContinue() {
	if i.waits && i.allowed {
		i.waits = false
		i.wire.Interim(http.StatusContinue, nil)
	}
}

// beginHead notes that the first byte of a reply's head was read.
func (i *interim) beginHead() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.first, i.coming = true, true
}

// answered reports whether a byte of a reply was read.
func (i *interim) answered() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.first
}

// pass sends an interim reply to the client.
func (i *interim) pass(code int, fields []wire.Field) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.coming = false
	if code == http.StatusContinue {
		i.sendContinue()
		return
	}
	if !i.allowed {
		return
	}
	i.passed++
	i.wire.Interim(code, endToEnd(slices.Clone(fields)))
}

// state returns how many interim replies were sent, and whether a head has begun
// that is not complete.
func (i *interim) state() (passed int, coming bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.passed, i.coming
}

// close notes that the final reply has begun, or that there will be none.
func (i *interim) close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.allowed = false
}
