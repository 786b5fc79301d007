package audit

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// laxHTTP2 is a proxy over HTTP/2 in clear that opens any tunnel, with fields that a
// 2xx must not have. The first connection, by which the audit finds out that there is
// HTTP/2, gets a valid answer. If refuses is set, it is the status of requests without
// credentials.
func laxHTTP2(t *testing.T, refuses string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var conns atomic.Int32
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.SetDeadline(time.Now().Add(time.Minute))
			running.Go(func() {
				defer conn.Close()
				br := bufio.NewReader(conn)
				if start, err := br.Peek(4); err != nil || string(start) != "PRI " {
					(&bad{refuses: func(head string) string {
						if refuses == "" || strings.Contains(head, "\r\nProxy-Authorization: Basic ") {
							return ""
						}
						return "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n"
					}}).serve(&behind{conn, br})
					return
				}
				laxFrames(&behind{conn, br}, conns.Add(1) == 1, refuses)
			})
		}
	})
	t.Cleanup(func() { l.Close(); running.Wait() })
	return l.Addr().String()
}

// laxFrames answers every request of a connection.
func laxFrames(conn net.Conn, good bool, refuses string) {
	io.CopyN(io.Discard, conn, int64(len(http2.ClientPreface)))
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	framer.WriteSettings()
	for {
		frame, err := framer.ReadFrame()
		if _, flawed := err.(http2.StreamError); err != nil && !flawed {
			return
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				framer.WriteSettingsAck()
			}
		case *http2.MetaHeadersFrame:
			answer := []hpack.HeaderField{{Name: ":status", Value: "200"}}
			asked := false
			for _, h := range frame.Fields {
				asked = asked || h.Name == "proxy-authorization"
			}
			switch {
			case refuses != "" && !asked:
				answer[0].Value = refuses
			case !good:
				answer = append(answer, hpack.HeaderField{Name: "content-length", Value: "5"}, hpack.HeaderField{Name: "connection", Value: "keep-alive"})
			}
			var block bytes.Buffer
			encoder := hpack.NewEncoder(&block)
			for _, h := range answer {
				encoder.WriteField(h)
			}
			framer.WriteHeaders(http2.HeadersFrameParam{StreamID: frame.StreamID, BlockFragment: block.Bytes(), EndHeaders: true})
		}
	}
}
