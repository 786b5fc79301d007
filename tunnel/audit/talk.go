package audit

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"culvert/tunnel/explain"
	"culvert/tunnel/internal/wire"
)

// maxKept bounds what is kept of a conversation, in bytes each way.
const maxKept = 2 << 10

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
		k.fail("no answer: %s", reason(err))
	}
	return reply
}

// because is a read error for a person.
func reason(err error) string {
	switch {
	case timedOut(err):
		return "nothing came in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed"
	}
	return wire.Escape([]byte(err.Error()), 120)
}

// describeRead is what was read, and what broke it off if anything did.
func describeRead(got []byte, err error) string {
	words := `"` + wire.Escape(got, 60) + `"`
	if err != nil {
		words += ", then: " + reason(err)
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
func (k *talk) readToEnd(within time.Duration) (closed bool, before []byte) {
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
		k.fail(`%d bytes came, %s; sent were %d, "%s"`, n, describeRead(got[:n], err), len(want), wire.Escape([]byte(want), 60))
	}
}

// hush gives the connection that much time from now on.
func (k *talk) setDeadline(d time.Duration) { _ = k.conn.SetDeadline(time.Now().Add(d)) }

func (k *talk) closeWrite() {
	half, ok := k.conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		k.skip("the connection to the proxy cannot be half-closed")
	}
}
