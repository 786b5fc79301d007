package forward

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"culvert/tunnel/internal/h2"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/wire"
)

// requestBody is a request's content as an upload reads it, perhaps on a goroutine of its
// own and after the reply has arrived: nothing else may read the connection before leave
// has returned.
type requestBody struct {
	content Content  // nil = none
	conn    net.Conn // the client's connection
	interim *interim
	n       atomic.Int64
	asking  atomic.Bool // a Read waits for the client
	done    atomic.Bool // the end was read, so that the next request may be read

	reading sync.Mutex // held while content is read
	begun   bool       // a Read of content has begun; guarded by reading

	mu     sync.Mutex // guards what follows
	cut    error      // why no more is read; nil = reading goes on
	owing  bool       // whether a Read waited for the client when cut was set
	failed error      // why content could not be read from the client
}

var (
	errAnswered     = errors.New("the answer came before the content was read")
	errUpstreamGone = errors.New("the connection was closed before the content was read")
	errSilent       = errors.New("nothing moved for too long")
)

// lengthContent is Content of which the connection, beneath its reader, may be read.
type lengthContent interface {
	Content

	// Left returns how many bytes were not read, -1 if that is not known; Buffered how
	// many of them are in the reader. Skip notes that n bytes were read beneath it.
	Left() int64
	Buffered() int
	Skip(n int64)
}

var _ lengthContent = (*wire.Content)(nil)

// spliceable reports whether the rest is long, of known length, and not in a buffer yet.
func (b *requestBody) spliceable() bool {
	c, ok := b.content.(lengthContent)
	return ok && c.Left() >= spliceFrom && c.Buffered() == 0
}

// takeBy is like Read, but has a splicer take the bytes.
func (b *requestBody) takeBy(s *splicer) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	if err := b.cause(nil); err != nil {
		return 0, err
	}
	b.begun = true
	b.interim.beforeContent()
	c := b.content.(lengthContent)
	b.asking.Store(true)
	n, err := s.take(c.Left())
	b.asking.Store(false)
	b.n.Add(int64(n))
	c.Skip(int64(n))
	switch {
	case err != nil:
		return n, b.cause(err)
	case c.Left() == 0:
		b.done.Store(true)
		return n, io.EOF
	}
	return n, nil
}

// Read reads content. It sends 100 (Continue) first if the client waits for it.
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
		b.done.Store(true)
		return n, io.EOF
	}
	if err != nil {
		err = b.cause(err)
	}
	return n, err
}

// cause returns why no more is read: the cut, of which err is only a consequence, or
// else err, which it notes as a failure of the client.
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

// interrupt makes the Read under way and all later ones fail with err, and does not
// wait for that. It does nothing if the end was read.
func (b *requestBody) interrupt(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cut == nil && !b.done.Load() {
		b.cut, b.owing = err, b.asking.Load()
		b.conn.SetReadDeadline(sock.Past)
	}
}

// renew lets the content be read for another connection to the origin. It returns false
// if that is not possible, because some of it was read already.
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

// leave ends the reading, and reports whether all of the content was read, so that the
// connection can carry another request.
func (b *requestBody) leave() bool {
	b.interrupt(errAnswered)
	b.reading.Lock()
	defer b.reading.Unlock()
	return b.cause(nil) == nil
}

// awaitedClient reports whether a Read was waiting for the client when it was
// interrupted.
func (b *requestBody) awaitedClient() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.owing
}

// failure returns why the content could not be read from the client, nil if it could or
// was not tried. The result left reports that the client has left.
func (b *requestBody) failure() (err error, left bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var network net.Error
	var stream *h2.StreamError
	var conn *h2.ConnError
	return b.failed, errors.Is(b.failed, io.ErrUnexpectedEOF) || errors.As(b.failed, &network) ||
		errors.As(b.failed, &stream) && stream.Remote || errors.As(b.failed, &conn)
}
