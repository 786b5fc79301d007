package audit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/explain"
	"culvert/tunnel/internal/wire"
	"culvert/tunnel/probe"
)

// maxKept bounds what is kept of a conversation, in bytes each way.
const maxKept = 2 << 10

// trial is one check's run. pass, warn, fail and skip end it at once.
type trial struct {
	*bench
	ctx    context.Context
	conns  []net.Conn
	talks  []*talk
	client *client.Client // that speaks HTTP/2; nil = none does
	seen   *framesSeen    // by it
}

// attempt runs a check, and passes it unless it ended otherwise.
func (t *trial) attempt(try func(*trial)) (o outcome) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case outcome:
			o = p
		default:
			panic(p)
		}
	}()
	try(t)
	return outcome{grade: probe.Pass}
}

func (t *trial) pass(format string, args ...any) {
	panic(outcome{probe.Pass, fmt.Sprintf(format, args...)})
}
func (t *trial) warn(format string, args ...any) {
	panic(outcome{probe.Warn, fmt.Sprintf(format, args...)})
}
func (t *trial) fail(format string, args ...any) {
	panic(outcome{probe.Fail, fmt.Sprintf(format, args...)})
}
func (t *trial) skip(format string, args ...any) {
	panic(outcome{probe.Skip, fmt.Sprintf(format, args...)})
}

// end closes what the trial opened.
func (t *trial) end() {
	for _, c := range t.conns {
		c.Close()
	}
	if t.client != nil {
		t.client.CloseIdleConnections()
	}
	if t.target != nil {
		t.target.forget()
	}
}

// shown is the conversation, the last that had an answer, credentials masked.
func (t *trial) shown() (sent, received tunnel.WireBytes) {
	if len(t.talks) == 0 && t.seen != nil {
		t.seen.mu.Lock()
		defer t.seen.mu.Unlock()
		return tunnel.WireBytes(t.masked(t.seen.sent)), tunnel.WireBytes(t.masked(t.seen.received))
	}
	for i := len(t.talks) - 1; i >= 0; i-- {
		if k := t.talks[i]; len(k.got.kept) > 0 || i == 0 {
			return tunnel.WireBytes(t.masked(string(k.sent))), tunnel.WireBytes(t.masked(string(k.got.kept)))
		}
	}
	return nil, nil
}

// talk is a conversation over one connection to the proxy.
type talk struct {
	*trial
	conn net.Conn
	br   *bufio.Reader
	got  *keeper
	sent []byte

	loggedIn bool // the connection is, by a login for connections
}

// keeper keeps the first bytes that were read.
type keeper struct {
	r    io.Reader
	kept []byte
}

func (k *keeper) Read(b []byte) (int, error) {
	n, err := k.r.Read(b)
	k.kept = append(k.kept, b[:min(n, maxKept-len(k.kept))]...)
	return n, err
}

// talk connects to the proxy. All that is said has Patience, from now on.
func (t *trial) talk() *talk {
	conn, err := t.Client.OpenProxy(t.ctx)
	if err != nil {
		sentence, _ := explain.Error(err)
		t.skip("%s", sentence)
	}
	t.conns = append(t.conns, conn)
	_ = conn.SetDeadline(time.Now().Add(t.Patience))
	k := &talk{trial: t, conn: conn, got: &keeper{r: conn}}
	k.br = bufio.NewReader(k.got)
	t.talks = append(t.talks, k)
	return k
}

// send writes text, filled in. A proxy that closed before may still have
// answered, so that errors show when reading.
func (k *talk) send(text string) {
	text = k.fill(text)
	k.sent = append(k.sent, text[:min(len(text), max(0, maxKept-len(k.sent)))]...)
	_, _ = io.WriteString(k.conn, text)
}

// reply reads a final reply's head, nil if none came.
func (k *talk) reply() (*wire.Reply, error) {
	for range 16 {
		reply, err := wire.ReadReply(k.br, 0)
		if err != nil {
			return nil, err
		}
		if reply.Code >= 200 {
			return reply, nil
		}
	}
	return nil, errors.New("1xx replies without end")
}

// wantReply fails the check if there is no reply.
func (k *talk) wantReply() *wire.Reply {
	reply, err := k.reply()
	if err != nil {
		k.fail("no answer: %s", because(err))
	}
	return reply
}

// because is a read error for a person.
func because(err error) string {
	switch {
	case timedOut(err):
		return "nothing came in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed"
	}
	return wire.Escape([]byte(err.Error()), 120)
}

// came is what was read, and what broke it off if anything did.
func came(got []byte, err error) string {
	words := `"` + wire.Escape(got, 60) + `"`
	if err != nil {
		words += ", then: " + because(err)
	}
	return words
}

// timedOut reports whether nothing came, rather than an end.
func timedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// content reads the reply's content by its framing, within bounds.
func (k *talk) content(reply *wire.Reply) ([]byte, error) {
	framing, err := reply.Framing()
	switch {
	case err != nil:
		return nil, err
	case framing.Chunked:
		return readChunks(k.br)
	case framing.Length >= 0:
		b := make([]byte, min(framing.Length, 1<<20))
		_, err := io.ReadFull(k.br, b)
		return b, err
	}
	return io.ReadAll(io.LimitReader(k.br, 1<<20))
}

// ended waits until the proxy closes, and reports whether it did; bytes that
// come before are given back.
func (k *talk) ended(within time.Duration) (closed bool, before []byte) {
	_ = k.conn.SetReadDeadline(time.Now().Add(within))
	before, err := io.ReadAll(io.LimitReader(k.br, 64<<10))
	return err == nil || !timedOut(err), before
}

// open asks for a tunnel to the target, with extra field lines.
func (t *trial) open(fields string) *talk {
	k := t.talk()
	k.send("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{auth}" + fields + "\r\n")
	k.opened()
	return k
}

// opened wants a 2xx.
func (k *talk) opened() *wire.Reply {
	reply := k.wantReply()
	if reply.Code/100 != 2 {
		k.fail(`the answer was "%s"`, line(reply))
	}
	return reply
}

// read wants these very bytes.
func (k *talk) read(want string) {
	got := make([]byte, len(want))
	n, err := io.ReadFull(k.br, got)
	if string(got[:n]) != want {
		k.fail(`%d bytes came, %s; sent were %d, "%s"`, n, came(got[:n], err), len(want), wire.Escape([]byte(want), 60))
	}
}

// hush gives the connection that much time from now on.
func (k *talk) hush(d time.Duration) { _ = k.conn.SetDeadline(time.Now().Add(d)) }

func (k *talk) closeWrite() {
	half, ok := k.conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		k.skip("the connection to the proxy cannot be half-closed")
	}
}

// offer tells the check something, once: a proxy that connects to the target a
// second time must not keep that waiting for ever.
func offer[T any](to chan<- T, what T) {
	select {
	case to <- what:
	default:
	}
}

// ascii keeps what a terminal acts on, or shows as it pleases, out of words that
// quote a proxy.
func ascii(words string) string {
	var b strings.Builder
	for i := range len(words) {
		if c := words[i]; c < ' ' || c > '~' {
			fmt.Fprintf(&b, `\x%02x`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// line is a reply's first line, fit to be shown.
func line(reply *wire.Reply) string { return wire.Escape([]byte(reply.Line), 100) }
