package h2

import (
	"context"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
)

// pair returns a client that is connected over TCP to a server with this handler.
func pair(b *testing.B, cfg Config, handle func(*Stream, Head)) *Conn {
	conn, err := net.Dial("tcp", startServer(b, cfg, handle))
	if err != nil {
		b.Fatal(err)
	}
	c := Client(conn, cfg)
	b.Cleanup(func() { c.Close(); c.Wait() })
	return c
}

func openTunnel(b *testing.B, c *Conn) *Stream {
	s, err := c.Open(context.Background(), fields(connect...), false)
	if err != nil {
		b.Fatal(err)
	}
	if head, err := s.ReadHead(context.Background()); err != nil || head.Status() != 200 {
		b.Fatal(head, err)
	}
	return s
}

// sink answers, and reads to the end.
func sink(s *Stream, _ Head) {
	defer s.Close()
	_ = s.Respond(fields(ok200...), false)
	_, _ = s.WriteTo(io.Discard)
}

func benchmarkBulk(b *testing.B, streams int) {
	c := pair(b, Config{}, sink)
	part := make([]byte, 32<<10)
	b.SetBytes(int64(streams * len(part)))
	b.ReportAllocs()
	var all []*Stream
	for range streams {
		all = append(all, openTunnel(b, c))
	}
	b.ResetTimer()
	var group sync.WaitGroup
	for _, s := range all {
		group.Go(func() {
			for range b.N {
				if _, err := s.Write(part); err != nil {
					b.Error(err)
					return
				}
			}
			_ = s.CloseWrite()
			_, _ = s.Read(part) // until the server has received everything
			_ = s.Close()
		})
	}
	group.Wait()
}

func BenchmarkBulkOneStream(b *testing.B)  { benchmarkBulk(b, 1) }
func BenchmarkBulk100Streams(b *testing.B) { benchmarkBulk(b, 100) }

func BenchmarkPingPong(b *testing.B) {
	s := openTunnel(b, pair(b, Config{}, echoing))
	defer s.Close()
	buf := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Write(buf); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(s, buf); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen opens a tunnel, waits for the answer and closes it.
func BenchmarkOpen(b *testing.B) {
	c := pair(b, Config{}, sink)
	b.ReportAllocs()
	for b.Loop() {
		s := openTunnel(b, c)
		_ = s.CloseWrite()
		_, _ = s.Read(make([]byte, 1))
		_ = s.Close()
	}
}

// BenchmarkIdleStream reports the memory of a silent stream, both ends together, after the
// handler has returned and bytes have passed both ways.
func BenchmarkIdleStream(b *testing.B) {
	const streams = 1000
	for b.Loop() {
		accepted := make(chan *Stream, streams)
		c := pair(b, Config{MaxStreams: streams}, func(s *Stream, _ Head) {
			_ = s.Respond(fields(ok200...), false)
			_, _ = s.Write(make([]byte, 4000))
			accepted <- s
		})
		if _, err := c.PeerSettings(context.Background()); err != nil {
			b.Fatal(err)
		}
		before := held()
		all := make([]*Stream, 0, 2*streams)
		for range streams {
			s := openTunnel(b, c)
			_, _ = io.ReadFull(s, make([]byte, 4000))
			other := <-accepted
			_, _ = s.Write([]byte("hello"))
			_, _ = io.ReadFull(other, make([]byte, 5))
			all = append(all, s, other)
		}
		b.ReportMetric(float64(held()-before)/1024/streams, "KiB/stream")
		for _, s := range all {
			s.Reset(CodeCancel)
		}
	}
}

// held returns the bytes of heap and stacks in use.
func held() int64 {
	runtime.GC()
	runtime.GC() // the second one empties the pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
