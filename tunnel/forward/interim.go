package forward

import (
	"errors"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"culvert/tunnel/internal/wire"
)

// maxInterim bounds the interim replies of an exchange. An origin that is slow sends one
// (102) every few seconds; one that sends them without end would never let go of its client.
const maxInterim = 1000

var (
	errManyInterim = errors.New("there are interim replies without end")
	errInterimSent = errors.New("an interim reply could not be sent to the client")
)

// interim passes interim replies (1xx) to the client: 100 at most once, and none after
// the final reply has begun (RFC 9110, section 10.1.1).
type interim struct {
	wire    Wire
	writing sync.Mutex  // held while one is sent, and by close; locked before mu
	sending atomic.Bool // one is being sent, for which the client may have to read
	over    atomic.Bool // the exchange was aborted: none is sent any more

	mu      sync.Mutex
	waits   bool // the client sent Expect: 100-continue and has had no 100
	allowed bool // HTTP/1.1, and the final reply has not begun
	first   bool // a first byte of a reply was read
	coming  bool // a head is being read, the final one unless pass is called
	came    int  // number of interim replies that were read
	passed  int  // number of those that were sent to the client
}

// send sends an interim reply. i.writing is held, and i.mu is not: the client may not
// read, and then others have to find that out.
func (i *interim) send(code int, fields []wire.Field) error {
	i.sending.Store(true) // before over is looked at: who sets that looks at sending then
	defer i.sending.Store(false)
	if i.over.Load() {
		return errInterimSent
	}
	if err := i.wire.Interim(code, fields); err != nil {
		return errors.Join(errInterimSent, err)
	}
	return nil
}

// beforeContent sends 100 if the client waits for it. The content may still be read after
// a final reply: then nothing is sent.
func (i *interim) beforeContent() {
	i.mu.Lock()
	waits := i.waits && !i.coming
	i.mu.Unlock()
	if waits {
		_ = i.sendContinue() // the read that follows fails too
	}
}

// sendContinue sends 100 if the client waits for it.
func (i *interim) sendContinue() error {
	i.writing.Lock()
	defer i.writing.Unlock()
	i.mu.Lock()
	waits := i.waits && i.allowed
	if waits {
		i.waits = false
	}
	i.mu.Unlock()
	if !waits {
		return nil
	}
	return i.send(http.StatusContinue, nil)
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

// pass sends an interim reply to the client. After an error the exchange is over.
func (i *interim) pass(code int, fields []wire.Field) error {
	i.mu.Lock()
	i.coming = false
	i.came++
	many := i.came > maxInterim
	i.mu.Unlock()
	switch {
	case many:
		return errManyInterim
	case code == http.StatusContinue:
		return i.sendContinue()
	}
	i.writing.Lock()
	defer i.writing.Unlock()
	i.mu.Lock()
	allowed := i.allowed
	if allowed {
		i.passed++
	}
	i.mu.Unlock()
	if !allowed {
		return nil
	}
	return i.send(code, endToEnd(slices.Clone(fields)))
}

// state returns how many interim replies were sent, and whether a head has begun
// that is not complete.
func (i *interim) state() (passed int, coming bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.passed, i.coming
}

// close notes that the final reply has begun, or that there will be none. It waits for an
// interim reply that is being sent.
func (i *interim) close() {
	i.writing.Lock()
	defer i.writing.Unlock()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.allowed = false
}
