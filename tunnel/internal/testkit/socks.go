package testkit

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"

	"culvert/tunnel/tunneltest"
)

// SOCKSProxy plays pairs of what it must read and what it then writes, in hex;
// then it echoes.
func SOCKSProxy(t *testing.T, script string) *tunneltest.Server {
	t.Helper()
	return tunneltest.Start(t, func(conn net.Conn) {
		for pair := range strings.SplitSeq(script, ";") {
			read, write, _ := strings.Cut(pair, ">")
			want, got := Unhex(read), make([]byte, len(Unhex(read)))
			if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, want) {
				t.Errorf("the proxy got %x, %v; want %x", got, err, want)
				return
			}
			conn.Write(Unhex(write))
		}
		if !strings.HasSuffix(script, "!") {
			io.Copy(conn, conn)
		}
	})
}

// SOCKSThen plays SOCKS in hex, as SOCKSProxy does, and then an HTTP proxy's
// script.
func SOCKSThen(t *testing.T, script string, then ...tunneltest.Step) *tunneltest.Proxy {
	t.Helper()
	socks := func(turn *tunneltest.Turn) bool {
		for pair := range strings.SplitSeq(script, ";") {
			read, write, _ := strings.Cut(pair, ">")
			want, got := Unhex(read), make([]byte, len(Unhex(read)))
			if _, err := io.ReadFull(turn.Conn, got); err != nil || !bytes.Equal(got, want) {
				t.Errorf("the proxy got %x, %v; want %x", got, err, want)
			}
			turn.Conn.Write(Unhex(write))
		}
		return true
	}
	return tunneltest.StartProxy(t, append([]tunneltest.Step{socks}, then...)...)
}

const SOCKSRequest = "05 01 00 > 05 00 ; 05 01 00 03 09 622e6578616d706c65 0c38 >" // b.example:3128

const SOCKSSucceeded = "05 00 00 01 c0000207 1f90"
