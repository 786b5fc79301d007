//lint:file-ignore SA1019 these tests are about another implementation

package h2

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// listen serves connections on loopback until the end of the test.
func listen(tb testing.TB, serve func(net.Conn)) (address string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serve(conn)
		}
	}()
	return listener.Addr().String()
}

// startServer runs a Server of this package on loopback.
func startServer(tb testing.TB, cfg Config, handle func(*Stream, Head)) (address string) {
	var mu sync.Mutex
	var conns []*Conn
	tb.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range conns {
			c.Close()
			c.Wait()
		}
	})
	return listen(tb, func(conn net.Conn) {
		mu.Lock()
		defer mu.Unlock()
		conns = append(conns, Server(conn, cfg, handle))
	})
}

// echoing answers with the bytes of the tunnel, or with the content and the trailers of the
// request, as they arrive.
func echoing(s *Stream, head Head) {
	defer s.Close()
	switch head.Get(":path") {
	case "/reset":
		s.Reset(CodeConnect)
		return
	case "/early":
		_ = s.Interim(fields(":status", "103", "link", "x"))
	}
	if s.Respond(fields(":status", "200", "seen", head.Get("sent")), false) != nil {
		return
	}
	if _, err := s.WriteTo(s); err != nil {
		return
	}
	if trailer := s.Trailer(); len(trailer) > 0 {
		_ = s.SendTrailers(trailer)
		return
	}
	_ = s.CloseWrite()
}

func transport(tb testing.TB) *http2.Transport {
	transport := &http2.Transport{AllowHTTP: true, DialTLSContext: func(ctx context.Context, network, address string, _ *tls.Config) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	tb.Cleanup(transport.CloseIdleConnections)
	return transport
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func TestInteropGoClientWithOurServer(t *testing.T) {
	address := startServer(t, Config{}, echoing)
	transport := transport(t)
	payload := random(5 << 20)
	want := sha256.Sum256(payload)
	var group sync.WaitGroup
	for i := range 30 {
		group.Go(func() {
			trailer := http.Header{"Sum": {fmt.Sprint(i)}}
			request, _ := http.NewRequest("POST", "http://"+address+"/", io.MultiReader(bytes.NewReader(payload)))
			request.Header.Set("Sent", strings.Repeat("long ", 6000)+"end")
			request.Trailer = trailer
			response, err := transport.RoundTrip(request)
			if err != nil {
				t.Error(err)
				return
			}
			defer response.Body.Close()
			hash := sha256.New()
			if _, err := io.Copy(hash, response.Body); err != nil || [32]byte(hash.Sum(nil)) != want {
				t.Errorf("content %d: %v", i, err)
			}
			if got := response.Trailer.Get("Sum"); got != fmt.Sprint(i) {
				t.Errorf("trailer %q", got)
			}
			if got := response.Header.Get("Seen"); !strings.HasSuffix(got, "end") {
				t.Errorf("a head of %d bytes", len(got))
			}
		})
	}
	group.Wait()
	request, _ := http.NewRequest("GET", "http://"+address+"/reset", nil)
	if _, err := transport.RoundTrip(request); err == nil || !strings.Contains(err.Error(), "CONNECT_ERROR") {
		t.Errorf("a reset: %v", err)
	}
}

func TestInteropGoClientTunnelsThroughOurServer(t *testing.T) {
	address := startServer(t, Config{}, echoing)
	transport := transport(t)
	var group sync.WaitGroup
	for range 100 {
		group.Go(func() {
			reader, writer := io.Pipe()
			request, _ := http.NewRequest("CONNECT", "http://"+address, reader)
			request.URL.Opaque, request.Host = "a.example:443", "a.example:443"
			response, err := transport.RoundTrip(request)
			if err != nil {
				t.Error(err)
				return
			}
			defer response.Body.Close()
			got := make([]byte, 5)
			for range 50 {
				_, _ = io.WriteString(writer, "hello")
				if _, err := io.ReadFull(response.Body, got); err != nil || string(got) != "hello" {
					t.Errorf("%q, %v", got, err)
					return
				}
			}
			writer.Close()
			if rest, err := io.ReadAll(response.Body); err != nil || len(rest) > 0 {
				t.Errorf("after the half-close %q, %v", rest, err)
			}
		})
	}
	group.Wait()
}

func TestInteropOurClientWithGoServer(t *testing.T) {
	server := &http2.Server{MaxConcurrentStreams: 20} // fewer than there are requests
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/abort" {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Trailer", "Sum")
		w.WriteHeader(http.StatusEarlyHints)
		n, err := io.Copy(w, r.Body)
		w.Header().Set("Sum", fmt.Sprintf("%d %v %s", n, err, r.Trailer.Get("Sent")))
	})
	address := listen(t, func(conn net.Conn) {
		go server.ServeConn(conn, &http2.ServeConnOpts{Handler: handler})
	})
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	c := Client(conn, Config{})
	defer c.Wait()
	defer c.Close()
	payload := random(3 << 20)
	var group sync.WaitGroup
	for i := range 60 {
		group.Go(func() {
			s, err := c.Open(t.Context(), fields(with(post, "trailer", "sent")...), false)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			go func() {
				_, _ = s.Write(payload)
				_ = s.SendTrailers(fields("sent", fmt.Sprint(i)))
			}()
			for _, want := range []int{103, 200} {
				if head, err := s.ReadHead(t.Context()); err != nil || head.Status() != want {
					t.Errorf("%+v, %v", head, err)
					return
				}
			}
			var got bytes.Buffer
			if _, err := s.WriteTo(&got); err != nil || !bytes.Equal(got.Bytes(), payload) {
				t.Errorf("%d bytes, %v", got.Len(), err)
			}
			if sum := get(s.Trailer(), "sum"); sum != fmt.Sprintf("%d <nil> %d", len(payload), i) {
				t.Errorf("trailer %q", sum)
			}
		})
	}
	group.Wait()
	s, err := c.Open(t.Context(), fields(with(get1[:6], ":path", "/abort")...), true)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.ReadHead(t.Context()); codeOf(err) != "stream INTERNAL_ERROR true" {
		t.Errorf("a server that aborts: %v", err)
	}
}

// Client and Server of this package are connected over TCP. One stream stalls beside busy
// ones, some of which are reset.
func TestOurClientWithOurServer(t *testing.T) {
	address := startServer(t, Config{}, echoing)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	c := Client(conn, Config{})
	defer c.Wait()
	defer c.Close()
	stalled, err := c.Open(t.Context(), fields(connect...), false)
	if err != nil {
		t.Fatal(err)
	}
	stuck := make(chan error, 1)
	go func() { _, err := stalled.Write(make([]byte, 32<<20)); stuck <- err }()
	var group sync.WaitGroup
	for i := range 300 { // more than MaxStreams
		group.Go(func() {
			s, err := c.Open(t.Context(), fields(connect...), false)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			payload := bytes.Repeat([]byte{byte(i)}, 100<<10)
			go func() { _, _ = s.Write(payload); _ = s.CloseWrite() }()
			if i%10 == 0 {
				s.Reset(CodeCancel)
				return
			}
			_ = s.SetReadDeadline(time.Now().Add(30 * time.Second))
			if got, err := io.ReadAll(s); err != nil || !bytes.Equal(got, payload) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	group.Wait()
	select {
	case err := <-stuck:
		t.Errorf("a stream that nobody reads took all: %v", err)
	default:
	}
	stalled.Reset(CodeCancel)
	<-stuck
	if n := c.openStreams(); n != 0 || c.Err() != nil {
		t.Errorf("%d streams are left, %v", n, c.Err())
	}
}
