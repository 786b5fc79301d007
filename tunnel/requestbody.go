package tunnel

import (
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"culvert/tunnel/internal/h2"
)

// requestBody is a request's content on its way from the client. The transport
// reads it on goroutines of its own, and goes on when the reply is there
// already: leave must have returned before anyone else reads the connection.
type requestBody struct {
	content io.Reader
	conn    net.Conn // what content comes from
	interim *interim
	trailer http.Header // filled in when the end is reached
	n       atomic.Int64
	asking  atomic.Bool // the client is waited for
	done    atomic.Bool // the end was reached: the next request may be read

	reading sync.Mutex // held while content is read
	begun   bool       // the client was turned to for content; guarded by reading

	mu     sync.Mutex // guards what follows
	cut    error      // why no more is read
	owing  bool       // the client was waited for then
	failed error      // what was wrong on the client's side
}

var (
	errAnswered     = errors.New("the answer came before the content was read")
	errUpstreamGone = errors.New("the connection was closed before the content was read")
	errSilent       = errors.New("nothing moved for too long")
)

// Read asks the client for the content first, if the client waits to be asked.
func (b *requestBody) Read(p []byte) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	if err := b.state(nil); err != nil {
		return 0, err
	}
	b.begun = true
	b.interim.goOn()
	b.asking.Store(true)
	n, err := b.content.Read(p)
	b.asking.Store(false)
	b.n.Add(int64(n))
	if err == io.EOF {
		if err = checkNames(b.trailer); err == nil {
			cleanTrailer(b.trailer)
			b.done.Store(true)
			return n, io.EOF
		}
	}
	if err != nil {
		err = b.state(err)
	}
	return n, err
}

// state is why no more is read: err, unless it only shows that we cut it.
func (b *requestBody) state(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cut != nil {
		return b.cut
	}
	if err != nil {
		b.failed = err
	}
	return err
}

// Close leaves what was not read: the connection is closed instead.
func (b *requestBody) Close() error { return nil }

// interrupt makes a Read that waits for the client fail with err, and all later
// ones. It does not wait for that, and does nothing once the end was reached.
func (b *requestBody) interrupt(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cut == nil && !b.done.Load() {
		b.cut, b.owing = err, b.asking.Load()
		b.conn.SetReadDeadline(past)
	}
}

// renew lets the content be read after all, by a further connection. It reports
// whether nothing is missing: whether no Read got as far as the client.
func (b *requestBody) renew() bool {
	b.reading.Lock()
	defer b.reading.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.begun || b.failed != nil || b.cut != nil && b.cut != errUpstreamGone:
		return false
	case b.cut != nil:
		b.cut = nil
		b.conn.SetReadDeadline(time.Time{})
	}
	return true
}

// leave ends the reading, and reports whether the connection is good for a
// further request: whether all of the content was read.
func (b *requestBody) leave() bool {
	b.interrupt(errAnswered)
	b.reading.Lock()
	defer b.reading.Unlock()
	return b.state(nil) == nil
}

// awaited reports whether the client was waited for when the reading was ended.
func (b *requestBody) awaited() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.owing
}

// fault is what was wrong with the content, nil if that was nothing; left says
// that the client is gone.
func (b *requestBody) fault() (err error, left bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var network net.Error
	var stream *h2.StreamError
	var conn *h2.ConnError
	return b.failed, errors.Is(b.failed, io.ErrUnexpectedEOF) || errors.As(b.failed, &network) ||
		errors.As(b.failed, &stream) && stream.Remote || errors.As(b.failed, &conn)
}
