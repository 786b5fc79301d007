package proxy

import (
	"io"
	"log/slog"
	"net"
	"testing"

	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/policy"
	"culvert/tunnel/tunneltest"
)

// BenchmarkConnect measures a whole tunnel over loopback: accept, CONNECT, dial, one byte
// in each direction, close. It includes the cost of client and target.
func BenchmarkConnect(b *testing.B) {
	for _, bench := range []struct {
		name string
		log  io.Writer
	}{{"quiet", nil}, {"logged", io.Discard}} {
		b.Run(bench.name, func(b *testing.B) {
			echo, err := tunneltest.Listen("tcp", "127.0.0.1:0", tunneltest.Echo)
			if err != nil {
				b.Fatal(err)
			}
			defer echo.Close()
			s := &Server{Policy: policy.Policy{Allow: []policy.Pattern{proxytest.MustPattern(b, "*:*")}}}
			if bench.log != nil {
				s.AccessLog = slog.New(slog.NewJSONHandler(bench.log, nil))
			}
			l := testkit.Listen(b, "127.0.0.1:0")
			served := make(chan error, 1)
			go func() { served <- s.Serve(l) }()
			request := []byte(proxytest.ConnectHead(echo.Addr()) + "x")
			reply := make([]byte, len(established)+1)
			b.ReportAllocs()
			for b.Loop() {
				if err := oneTunnel(l.Addr().String(), request, reply); err != nil {
					b.Fatal(err)
				}
			}
			s.Close()
			<-served
		})
	}
}

// oneTunnel sends the request with an early byte, and reads the 2xx and the echo to the
// end.
func oneTunnel(address string, request, reply []byte) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write(request); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, reply); err != nil {
		return err
	}
	if err := conn.(sock.HalfCloser).CloseWrite(); err != nil {
		return err
	}
	_, err = conn.Read(reply)
	if err == io.EOF {
		return nil
	}
	return err
}
