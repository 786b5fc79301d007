package audit

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// The sizes between which findLimit looks for the limit of a head, in bytes.
const (
	smallHead = 1 << 10
	largeHead = 1 << 20
)

// askSized sends a CONNECT with a head of that size, and returns the status code of
// the answer, 0 if there is none. Each line has 1 KiB at most and a name of its own,
// so that no limit of a single field applies.
func (t *trial) askSized(size int) (code int) {
	k := t.talk()
	defer k.conn.Close()
	var b strings.Builder
	b.WriteString(k.fill("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{auth}"))
	for i := 0; b.Len() < size; i++ {
		name := fmt.Sprintf("X-Pad-%d: ", i)
		b.WriteString(name + strings.Repeat("a", max(1, min(size-b.Len(), 1<<10)-len(name)-2)) + "\r\n")
	}
	b.WriteString("\r\n")
	k.pace() // a slow network is not a limit
	for part := range slices.Chunk([]byte(b.String()), 16<<10) {
		k.send(string(part))
	}
	reply, err := k.reply()
	switch {
	case err != nil && timedOut(err):
		t.warn("a head of %d KiB is neither answered nor hung up on in time", size>>10)
	case err != nil:
		return 0
	}
	return reply.Code
}

// findLimit finds the size of the largest head that is accepted, to 1 KiB, and the
// status code for a larger one. limited is false if heads of every size are accepted.
func (t *trial) findLimit() (low, code int, limited bool) {
	t.serveEcho()
	if code = t.askSized(largeHead); code/100 == 2 {
		return largeHead, code, false
	}
	low, high := smallHead, largeHead
	for high-low > 1<<10 {
		middle := (low + high) / 2
		if got := t.askSized(middle); got/100 == 2 {
			low = middle
		} else {
			high, code = middle, got
		}
	}
	return low, code, true
}

func headLimit(t *trial) {
	low, code, limited := t.findLimit()
	if !limited {
		t.warn("a head of 1 MiB is taken: the limit, if there is one, is above that")
	}
	answer := fmt.Sprintf("%d", code)
	if code == 0 {
		answer = "a closed connection"
	}
	t.pass("heads up to about %d KiB are taken, in lines of 1 KiB; above, the answer is %s", low>>10, answer)
}

func headTooLarge(t *trial) {
	low, code, limited := t.findLimit()
	switch {
	case !limited:
		t.skip("no limit is met up to 1 MiB")
	case code == 0:
		t.warn("above %d KiB the connection is closed, without an answer that arrives", low>>10)
	case code/100 != 4:
		t.fail("above %d KiB the answer is %d", low>>10, code)
	}
	t.pass("above %d KiB the answer is %d", low>>10, code)
}

// slowSkipped is the reason to skip the checks that need Slow.
const slowSkipped = "it takes its time: ask for it with --audit-slow TIME"

// slowHead sends a head byte by byte and never ends it.
func slowHead(t *trial) {
	if t.Slow <= 0 {
		t.skip(slowSkipped)
	}
	every := min(max(t.Slow/50, 5*time.Millisecond), 500*time.Millisecond)
	k := t.talk()
	k.setDeadline(t.Slow + t.Patience)
	k.send("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{auth}X-Slow: ")
	started := time.Now()
	for time.Since(started) < t.Slow {
		_ = k.conn.SetReadDeadline(time.Now().Add(every))
		if _, err := k.br.Peek(1); err == nil || !timedOut(err) {
			k.passEnded(started)
		}
		k.send("a")
	}
	t.warn("after %s of a byte each %s it still waits: a client that drips keeps a connection for longer than that", t.Slow, every)
}

// silentClient connects and sends nothing.
func silentClient(t *trial) {
	if t.Slow <= 0 {
		t.skip(slowSkipped)
	}
	k := t.talk()
	k.setDeadline(t.Slow)
	started := time.Now()
	if _, err := k.br.Peek(1); err == nil || !timedOut(err) {
		k.passEnded(started)
	}
	t.warn("after %s it still waits: a client that says nothing keeps a connection for longer than that", t.Slow)
}

// passEnded passes the check, with how the proxy ended the connection and when.
func (k *talk) passEnded(started time.Time) {
	took := rounded(time.Since(started))
	k.setDeadline(k.Patience)
	if reply, err := k.reply(); err == nil {
		k.pass(`after %s the answer was "%s"`, took, line(reply))
	}
	k.pass("after %s the connection was closed", took)
}

// rounded returns a duration rounded for a person.
func rounded(d time.Duration) time.Duration {
	if d < 10*time.Second {
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(time.Second)
}
