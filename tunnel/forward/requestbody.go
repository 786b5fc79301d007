package forward

import (
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"culvert/tunnel/internal/h2"
	"culvert/tunnel/internal/sock"
)

// requestBody is a request's content on its way from the client. The transport
// reads it on goroutines of its own, perhaps still after the reply has arrived:
// nothing else may read the connection before leave has returned.
type requestBody struct {
	content io.Reader
	conn    net.Conn // that content is read from
	interim *interim
	trailer http.Header // filled in at the end
	n       atomic.Int64
	asking  atomic.Bool // Read waits for the client
	done    atomic.Bool // the end was read: the next request may be

	reading sync.Mutex // held while content is read
	begun   bool       // a Read of content has begun; guarded by reading

	mu     sync.Mutex // guards what follows
	cut    error      // why no more is read; nil = it is
	owing  bool       // asking, when cut was set
	failed error      // what went wrong on the client's side
}

var (
	errAnswered     = errors.New("the answer came before the content was read")
	errUpstreamGone = errors.New("the connection was closed before the content was read")
	errSilent       = errors.New("nothing moved for too long")
)

// Read sends 100 (Continue) first if the client waits for that.
func (b *requestBody) Read(p []byte) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	if err := b.cause(nil); err != nil {
		return 0, err
	}
	b.begun = true
	b.interim.beforeContent()
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
		err = b.cause(err)
	}
	return n, err
}

// cause returns why no more is read: the cut, of which err is only a consequence,
// or else err, which it notes as the client's fault.
func (b *requestBody) cause(err error) error {
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

// Close does nothing: a connection with unread content is closed later.
func (b *requestBody) Close() error { return nil }

// interrupt makes a Read under way and all later ones fail with err, without
// waiting for that. It does nothing once the end was read.
func (b *requestBody) interrupt(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cut == nil && !b.done.Load() {
		b.cut, b.owing = err, b.asking.Load()
		b.conn.SetReadDeadline(sock.Past)
	}
}

// renew lets the content be read for another connection to the origin. It reports
// whether that is possible: whether nothing of it was read before.
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

// leave ends the reading, and reports whether the connection can be used for a
// further request: whether all of the content was read.
func (b *requestBody) leave() bool {
	b.interrupt(errAnswered)
	b.reading.Lock()
	defer b.reading.Unlock()
	return b.cause(nil) == nil
}

// awaitedClient reports whether Read was waiting for the client when it was interrupted.
func (b *requestBody) awaitedClient() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.owing
}

// failure returns what was wrong with the content, nil if nothing was; left reports
// that the client is gone.
func (b *requestBody) failure() (err error, left bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var network net.Error
	var stream *h2.StreamError
	var conn *h2.ConnError
	return b.failed, errors.Is(b.failed, io.ErrUnexpectedEOF) || errors.As(b.failed, &network) ||
		errors.As(b.failed, &stream) && stream.Remote || errors.As(b.failed, &conn)
}
