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

// maxKept limits how much of a conversation is kept, in bytes each way.
const maxKept = 2 << 10

// talk is a conversation with the proxy over one connection.
type talk struct {
	*trial
	conn net.Conn
	br   *bufio.Reader
	got  *keeper
	sent []byte

	loggedIn bool // by a login that is bound to the connection
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

// talk connects to the proxy. The whole conversation has Patience, from now on.
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

// send fills in text and writes it. Errors show when reading: a proxy that has closed
// may have answered before.
func (k *talk) send(text string) {
	text = k.fill(text)
	k.sent = append(k.sent, text[:min(len(text), max(0, maxKept-len(k.sent)))]...)
	_, _ = io.WriteString(k.conn, text)
}

// reply reads the head of the final reply.
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

// wantReply reads the head of the final reply, and fails the check if there is none.
func (k *talk) wantReply() *wire.Reply {
	reply, err := k.reply()
	if err != nil {
		k.fail("no answer: %s", reason(err))
	}
	return reply
}

// reason returns a read error in words for a person.
func reason(err error) string {
	switch {
	case timedOut(err):
		return "nothing came in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed"
	}
	return wire.Escape([]byte(err.Error()), 120)
}

// describeRead returns what was read and, if the read failed, why, for a person.
func describeRead(got []byte, err error) string {
	words := `"` + wire.Escape(got, 60) + `"`
	if err != nil {
		words += ", then: " + reason(err)
	}
	return words
}

// timedOut reports whether a read failed because nothing came in time.
func timedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// content reads the content of a reply by its framing, up to a limit.
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

// readToEnd reads until the proxy closes the connection. It reports whether it did in
// time, and the bytes that came before.
func (k *talk) readToEnd(within time.Duration) (closed bool, before []byte) {
	_ = k.conn.SetReadDeadline(time.Now().Add(within))
	before, err := io.ReadAll(io.LimitReader(k.br, 64<<10))
	return err == nil || !timedOut(err), before
}

// open opens a tunnel to the target, by a CONNECT with extra field lines.
func (t *trial) open(fields string) *talk {
	k := t.talk()
	k.send("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{auth}" + fields + "\r\n")
	k.opened()
	return k
}

// opened reads the reply, and fails the check unless it is a 2xx.
func (k *talk) opened() *wire.Reply {
	reply := k.wantReply()
	if reply.Code/100 != 2 {
		k.fail(`the answer was "%s"`, line(reply))
	}
	return reply
}

// read fails the check unless want comes next.
func (k *talk) read(want string) {
	got := make([]byte, len(want))
	n, err := io.ReadFull(k.br, got)
	if string(got[:n]) != want {
		k.fail(`%d bytes came, %s; sent were %d, "%s"`, n, describeRead(got[:n], err), len(want), wire.Escape([]byte(want), 60))
	}
}

// setDeadline lets the conversation go on for d from now on.
func (k *talk) setDeadline(d time.Duration) { _ = k.conn.SetDeadline(time.Now().Add(d)) }

// closeWrite half-closes the connection. It skips the check if that cannot be done.
func (k *talk) closeWrite() {
	half, ok := k.conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		k.skip("the connection to the proxy cannot be half-closed")
	}
}
