package tunnel

import (
	"bytes"
	"culvert/tunnel/tunneltest"
	"io"
	"net"
	"strings"
	"testing"
)

// socksProxy plays pairs of what it must read and what it then writes, in hex;
// then it echoes.
func socksProxy(t *testing.T, script string) *tunneltest.Server {
	t.Helper()
	return tunneltest.Start(t, func(conn net.Conn) {
		for pair := range strings.SplitSeq(script, ";") {
			read, write, _ := strings.Cut(pair, ">")
			want, got := unhex(read), make([]byte, len(unhex(read)))
			if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, want) {
				t.Errorf("the proxy got %x, %v; want %x", got, err, want)
				return
			}
			conn.Write(unhex(write))
		}
		if !strings.HasSuffix(script, "!") {
			io.Copy(conn, conn)
		}
	})
}

// socksThen plays SOCKS in hex, as socksProxy does, and then an HTTP proxy's
// script.
func socksThen(t *testing.T, script string, then ...tunneltest.Step) *tunneltest.Proxy {
	t.Helper()
	socks := func(turn *tunneltest.Turn) bool {
		for pair := range strings.SplitSeq(script, ";") {
			read, write, _ := strings.Cut(pair, ">")
			want, got := unhex(read), make([]byte, len(unhex(read)))
			if _, err := io.ReadFull(turn.Conn, got); err != nil || !bytes.Equal(got, want) {
				t.Errorf("the proxy got %x, %v; want %x", got, err, want)
			}
			turn.Conn.Write(unhex(write))
		}
		return true
	}
	return tunneltest.StartProxy(t, append([]tunneltest.Step{socks}, then...)...)
}

const socksAsked = "05 01 00 > 05 00 ; 05 01 00 03 09 622e6578616d706c65 0c38 >" // b.example:3128

const socksDone = "05 00 00 01 c0000207 1f90"
