package proxy

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"
)

// uploadSize is more than the kernel's buffers hold on the way.
const uploadSize = 32 << 20

// tooLargeOrigin starts an origin that replies 413 to a request whose content it does not
// read, and closes.
func tooLargeOrigin(t *testing.T) *tunneltest.Server {
	return tunneltest.Start(t, func(conn net.Conn) {
		head := make([]byte, 0, 4096)
		for one := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); head = append(head, one...) {
			if _, err := conn.Read(one); err != nil {
				return
			}
		}
		io.WriteString(conn, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\nConnection: close\r\n\r\ntoo large")
	})
}

// A client that reads nothing before it has sent all of its content gets the answer that
// came before, or the refusal, whatever the size.
func TestEarlyAnswerToABigUpload(t *testing.T) {
	origin := tooLargeOrigin(t)
	for _, secure := range []bool{false, true} {
		for name, tt := range map[string]struct {
			target string
			status int
		}{"answered": {origin.Addr(), 413}, "refused": {"169.254.169.254", 403}} {
			for framing, field := range map[string]string{"length": fmt.Sprint("Content-Length: ", uploadSize), "chunked": "Transfer-Encoding: chunked"} {
				t.Run(fmt.Sprintf("%s, %s, TLS %v", name, framing, secure), func(t *testing.T) {
					t.Parallel()
					start := startServer
					if secure {
						start = startSecure
					}
					ts := start(t, &Server{})
					conn := ts.Dial()
					if secure {
						conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
					}
					testkit.Send(t, conn, fmt.Sprintf("POST http://%s/ HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n", tt.target, field))
					block := make([]byte, 1<<20)
					for sent := 0; sent < uploadSize; sent += len(block) {
						if framing == "chunked" {
							testkit.Send(t, conn, fmt.Sprintf("%x\r\n%s\r\n", len(block), block))
						} else {
							testkit.Send(t, conn, string(block))
						}
					}
					if a := proxytest.ReadAnswer(t, conn); a.Status != tt.status {
						t.Errorf("the answer is %+v, want %d", a, tt.status)
					}
					conn.Close()
					ts.NextRecord(accesslog.EventRequest).WantNumber(t, "status", tt.status)
				})
			}
		}
	}
}

// Over HTTP/2 the stream ends with the answer, and the client need not send the rest (RFC
// 9113, section 8.1). The connection goes on.
func TestEarlyAnswerToABigUploadOverHTTP2(t *testing.T) {
	origin := tooLargeOrigin(t)
	ts := startServer(t, &Server{})
	client := ts.transport2(nil)
	for range 3 {
		r := newRequest(t, "POST", "http://"+origin.Addr()+"/", io.LimitReader(testkit.Endless{}, uploadSize))
		r.ContentLength = uploadSize
		reply, err := client.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(reply.Body)
		reply.Body.Close()
		if err != nil || reply.StatusCode != 413 || string(body) != "too large" {
			t.Errorf("%d %q, %v", reply.StatusCode, body, err)
		}
	}
}

// refusedUpload returns how long a client may go on sending the content of a refused
// request, in pieces of a size with pauses between them, up to a day.
func refusedUpload(t *testing.T, size int, pause time.Duration) (lasted time.Duration) {
	serverInBubble(t, &Server{}, func(t *testing.T, l *proxytest.FakeListener, _ *proxytest.AccessLog) {
		conn := l.Connect(t, "192.0.2.1:5")
		conn.SetDeadline(time.Time{})
		testkit.Send(t, conn, "POST http://169.254.169.254/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n\r\n")
		proxytest.ReadAnswer(t, conn)
		conn.SetDeadline(time.Time{})
		start, piece := time.Now(), make([]byte, size)
		for lasted < 24*time.Hour {
			time.Sleep(pause)
			if _, err := conn.Write(piece); err != nil {
				break
			}
			lasted = time.Since(start)
		}
		conn.Close()
	})
	return lasted
}

// The content of a refused request is read as long as it makes progress, and no longer.
func TestRefusedUploadNeedsProgress(t *testing.T) {
	for _, tt := range []struct {
		name        string
		size        int
		pause       time.Duration
		least, most time.Duration
	}{
		{"late", 1 << 20, 2 * drainTime, 0, 0},
		{"then a pause", 1 << 20, 2 * uploadPause, 0, 0},
		{"fast enough", uploadRate, time.Second / 2, 24 * time.Hour, 25 * time.Hour},
		{"a few bytes at a time", 10, time.Second / 2, uploadGrace - 2*time.Second, uploadGrace + 2*time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if lasted := refusedUpload(t, tt.size, tt.pause); lasted < tt.least || lasted > tt.most {
				t.Errorf("it was read for %v, want %v to %v", lasted, tt.least, tt.most)
			}
		})
	}
}
