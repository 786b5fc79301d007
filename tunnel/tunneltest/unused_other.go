//go:build !unix

package tunneltest

import "net"

// Unused returns a loopback address at which nothing listens, unless another process takes
// the port.
func Unused(tb TB) string {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("%v", err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
