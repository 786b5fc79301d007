package proxy

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"

	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/policy"
	"culvert/tunnel/tunneltest"
)

// BenchmarkPlainKeepAlive measures GET of 1 KiB on kept connections, with the access log
// formatted and discarded. Client and origin do as little as possible, so that most of
// the cost is the proxy's.
func BenchmarkPlainKeepAlive(b *testing.B) {
	reply := "HTTP/1.1 200 OK\r\n" + date + "Content-Type: text/plain\r\nContent-Length: 1024\r\n\r\n" + strings.Repeat("x", 1024)
	origin := tunneltest.Start(b, func(conn net.Conn) {
		br := bufio.NewReader(conn)
		for {
			line, err := br.ReadSlice('\n')
			if err != nil {
				return
			}
			if len(line) == 2 {
				io.WriteString(conn, reply)
			}
		}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := &Server{Name: "p", AccessLog: slog.New(slog.NewTextHandler(io.Discard, nil))}
	s.Policy.Allow = []policy.Pattern{proxytest.MustPattern(b, "*:*")}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	b.Cleanup(func() {
		s.Close()
		<-served
	})
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	request := []byte("GET http://" + origin.Addr() + "/path?query HTTP/1.1\r\nHost: " + origin.Addr() +
		"\r\nUser-Agent: bench\r\nAccept: */*\r\nProxy-Connection: keep-alive\r\n\r\n")
	buf, br := make([]byte, 1024), bufio.NewReader(conn)
	b.ReportAllocs()
	b.SetBytes(1024)
	for b.Loop() {
		if _, err := conn.Write(request); err != nil {
			b.Fatal(err)
		}
		length := 0
		for {
			line, err := br.ReadSlice('\n')
			if err != nil {
				b.Fatal(err)
			}
			if len(line) == 2 {
				break
			}
			if value, ok := strings.CutPrefix(string(line), "Content-Length: "); ok {
				length, _ = strconv.Atoi(strings.TrimSpace(value))
			}
		}
		if _, err := io.ReadFull(br, buf[:length]); err != nil || length != 1024 {
			b.Fatalf("%d bytes of content, %v", length, err)
		}
	}
}
