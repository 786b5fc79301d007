package h2

import (
	"io"
	"net"
	"testing"

	"golang.org/x/net/http2"
)

// against starts a server with cfg and a peer that is its client, and exchanges SETTINGS.
func against(t *testing.T, cfg Config, handle func(*Stream, Head)) (*Conn, *peer) {
	ours, theirs := net.Pipe()
	c := Server(ours, cfg, handle)
	p := newPeer(t, theirs, true)
	go p.read()
	t.Cleanup(func() { c.Close(); c.Wait() })
	_, _ = io.WriteString(theirs, Preface)
	_ = p.WriteSettings()
	_ = p.WriteSettingsAck()
	return c, p
}

// clientOf starts a client with cfg and a peer that is its server.
func clientOf(t *testing.T, cfg Config, settings ...http2.Setting) (*Conn, *peer) {
	ours, theirs := net.Pipe()
	c := Client(ours, cfg)
	p := newPeer(t, theirs, false)
	t.Cleanup(func() { c.Close(); c.Wait() })
	if _, err := io.ReadFull(theirs, make([]byte, len(Preface))); err != nil {
		t.Fatal(err)
	}
	go p.read()
	_ = p.WriteSettings(settings...)
	_ = p.WriteSettingsAck()
	return c, p
}

// open opens a stream. The peer has read its head.
func open(t *testing.T, c *Conn, p *peer, pairs ...string) *Stream {
	t.Helper()
	s, err := c.Open(t.Context(), fields(pairs...), false)
	if err != nil {
		t.Fatal(err)
	}
	p.next(http2.FrameHeaders)
	return s
}

// handed returns a handler that passes its streams to the test.
func handed() (streams chan *Stream, handle func(*Stream, Head)) {
	streams = make(chan *Stream, 1000)
	return streams, func(s *Stream, _ Head) { streams <- s }
}

// answered is like handed, but answers each request with 200 first.
func answered(t *testing.T) (streams chan *Stream, handle func(*Stream, Head)) {
	streams = make(chan *Stream, 1000)
	return streams, func(s *Stream, _ Head) {
		if err := s.Respond(fields(ok200...), false); err != nil {
			t.Error(err)
		}
		streams <- s
	}
}

// tunnel opens a tunnel through a server whose handler is that of answered.
func (p *peer) tunnel(id uint32, streams chan *Stream) *Stream {
	p.t.Helper()
	p.head(id, false, connect...)
	p.next(http2.FrameHeaders)
	return <-streams
}

// serverOf starts a server whose client is the test.
func serverOf(t *testing.T, cfg Config) (*Conn, net.Conn) {
	ours, theirs := net.Pipe()
	c := Server(ours, cfg, func(s *Stream, _ Head) { s.Close() })
	t.Cleanup(func() { c.Close(); c.Wait(); theirs.Close() })
	return c, theirs
}

// clientOfNothing starts a client whose server is the test. It has sent nothing, and has
// only read the first bytes of the client.
func clientOfNothing(t *testing.T, cfg Config) (*Conn, net.Conn) {
	ours, theirs := net.Pipe()
	c := Client(ours, cfg)
	go io.Copy(io.Discard, theirs)
	t.Cleanup(func() { c.Close(); c.Wait(); theirs.Close() })
	return c, theirs
}

// openStreams returns the number of streams that are open or half-closed.
func (c *Conn) openStreams() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.streams)
}
