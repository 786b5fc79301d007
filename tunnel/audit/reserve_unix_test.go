//go:build unix

package audit

import (
	"net"
	"testing"

	"culvert/tunnel"
)

// No program can listen where nothing is to listen, for as long as the audit runs.
// Otherwise the proxy would open a tunnel to it, and the checks of refusals would be
// skipped.
func TestNobodyCanListenOnAnUnusedPort(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "[::1]:0", "0.0.0.0:0"} {
		target, err := listenTarget(listen, tunnel.Authority{}, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Log("this machine has not the address: ", err)
			continue
		}
		defer target.close()
		unused := target.unused()
		if l, err := net.Listen("tcp", unused.String()); err == nil {
			l.Close()
			t.Errorf("another program can listen on %s", unused)
		}
		if conn, err := net.Dial("tcp", unused.String()); err == nil {
			conn.Close()
			t.Errorf("somebody listens on %s", unused)
		}
	}
}
