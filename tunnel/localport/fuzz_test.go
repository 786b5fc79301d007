package localport

import (
	"bytes"
	"net"
	"testing"
	"time"

	"culvert/tunnel"
)

// requestConn is a program that has sent a request.
type requestConn struct {
	net.Conn
	in *bytes.Reader
}

func (c requestConn) Read(b []byte) (int, error)    { return c.in.Read(b) }
func (requestConn) Write(b []byte) (int, error)     { return len(b), nil }
func (requestConn) SetReadDeadline(time.Time) error { return nil }

// A request in SOCKS is an error, or names a target; no byte behind it is read.
func FuzzSOCKSRequest(f *testing.F) {
	for _, request := range []string{
		"\x05\x01\x00\x05\x01\x00\x03\x06a.test\x00\x16", "\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x16", "\x05\x01\x02",
		"\x04\x01\x00\x16\x00\x00\x00\x01user\x00a.test\x00", "\x04\x01\x00\x16\xc0\x00\x02\x01\x00", "GET / HTTP/1.1\r\n\r\n", "\x05\x01\x00\x05\x02\x00\x04",
	} {
		f.Add([]byte(request))
	}
	f.Fuzz(func(t *testing.T, request []byte) {
		const behind = "\xffbehind"
		ask := func(sent string) (target tunnel.Authority, left int, err error) {
			conn := requestConn{in: bytes.NewReader([]byte(sent))}
			s := socksServer{conn: conn, timeout: time.Minute}
			target, err = s.request()
			_ = s.protocol()
			if err == nil {
				if failed := s.reply(nil); failed != nil {
					t.Error(failed)
				}
			}
			return target, conn.in.Len(), err
		}
		target, left, err := ask(string(request))
		if err != nil {
			return
		}
		if again, err := tunnel.ParseAuthority(target.String()); err != nil || again != target {
			t.Errorf("target %q: %v", target, err)
		}
		if same, more, err := ask(string(request) + behind); err != nil || same != target || more != left+len(behind) {
			t.Errorf("with bytes behind it: %v, %v, %d bytes are left of %d", same, err, more, left+len(behind))
		}
	})
}
