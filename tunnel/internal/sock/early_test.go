package sock

import (
	"errors"
	"io"
	"net"
	"testing"
)

// Bytes that were read before come first, in pieces of any size.
func TestEarly(t *testing.T) {
	near, far := net.Pipe()
	go func() {
		io.WriteString(far, "late")
		far.Close()
	}()
	c := &Early{Conn: near, Unread: []byte("early")}
	defer c.Close()
	first := make([]byte, 2)
	if n, err := c.Read(first); n != 2 || err != nil || string(c.Unread) != "rly" {
		t.Errorf("read %d, %v, and %q is left", n, err, c.Unread)
	}
	rest, err := io.ReadAll(c)
	if got := string(first) + string(rest); got != "earlylate" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	if c.NetConn() != near {
		t.Error("NetConn is another conn")
	}
	if err := c.CloseWrite(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("half-closing a pipe: %v", err)
	}
	half := &Early{Conn: halfCloser{near}}
	if err := half.CloseWrite(); err != errHalf {
		t.Errorf("half-closing: %v", err)
	}
}

var errHalf = errors.New("half closed")

type halfCloser struct{ net.Conn }

func (halfCloser) CloseWrite() error { return errHalf }
