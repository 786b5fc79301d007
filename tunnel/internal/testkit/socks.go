package testkit

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"

	"culvert/tunnel/tunneltest"
)

// SOCKSProxy starts a proxy that follows a script in hex: pairs, separated by semicolons, of
// the bytes that it must read and, after a >, those that it then writes. After the script
// it echoes, unless the script ends with an exclamation mark.
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

// SOCKSThen starts a proxy that follows a script as SOCKSProxy does, and then the script of an
// HTTP proxy.
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

// SOCKSRequest is the script of a SOCKS 5 request for b.example:3128, up to the reply.
const SOCKSRequest = "05 01 00 > 05 00 ; 05 01 00 03 09 622e6578616d706c65 0c38 >"

// SOCKSSucceeded is the reply to SOCKSRequest that opens a tunnel.
const SOCKSSucceeded = "05 00 00 01 c0000207 1f90"
