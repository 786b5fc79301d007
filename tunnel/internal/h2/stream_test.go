package h2

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

func TestHalfCloseOfEitherSideLeavesTheOther(t *testing.T) {
	roles := map[string]func(*testing.T) (*Conn, *peer, *Stream){
		"server": func(t *testing.T) (*Conn, *peer, *Stream) {
			streams, handle := answered(t)
			c, p := against(t, Config{}, handle)
			return c, p, p.tunnel(1, streams)
		},
		"client": func(t *testing.T) (*Conn, *peer, *Stream) {
			c, p := clientOf(t, Config{})
			s := open(t, c, p, connect...)
			p.head(1, false, ok200...)
			return c, p, s
		},
	}
	for role, start := range roles {
		t.Run(role+" ends first", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p, s := start(t)
				if err := s.CloseWrite(); err != nil {
					t.Fatal(err)
				}
				if f := p.next(http2.FrameData); !f.Flags.Has(http2.FlagDataEndStream) || f.Length != 0 {
					t.Fatalf("got %+v, want END_STREAM", f.Frame)
				}
				if _, err := s.Write([]byte("x")); !errors.Is(err, errWriteEnded) {
					t.Fatalf("a Write behind CloseWrite: %v", err)
				}
				_ = p.WriteData(1, false, []byte("goes "))
				_ = p.WriteData(1, true, []byte("on"))
				if got := readAll(t, s); got != "goes on" || c.openStreams() != 0 {
					t.Fatalf("read %q, %d streams are open", got, c.openStreams())
				}
				wantNothingOn(t, p, s)
			})
		})
		t.Run(role+" ends last", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p, s := start(t)
				_ = p.WriteData(1, true, []byte("all"))
				if got := readAll(t, s); got != "all" {
					t.Fatalf("read %q", got)
				}
				for range 3 {
					if _, err := s.Write([]byte("more")); err != nil {
						t.Fatal(err)
					}
				}
				if c.openStreams() != 1 {
					t.Fatal("the stream ended with the peer's side of it")
				}
				_ = s.CloseWrite()
				if c.openStreams() != 0 {
					t.Fatal("the stream lives on")
				}
				synctest.Wait()
				got := ""
				for _, f := range p.all() {
					got += string(f.data)
				}
				if got != "moremoremore" {
					t.Fatalf("the peer got %q", got)
				}
				wantNothingOn(t, p, s)
			})
		})
	}
}

// wantNothingOn closes a stream that has ended, after which the peer must receive nothing.
func wantNothingOn(t *testing.T, p *peer, s *Stream) {
	t.Helper()
	s.Close()
	synctest.Wait()
	if got := summary(p.all()); got != "" {
		t.Fatalf("got %s for a stream that ended in good order", got)
	}
}

func TestCloseTellsThePeerWhatItMustKnow(t *testing.T) {
	type part struct {
		p *peer
		s *Stream
	}
	sendUnread := func(ends bool) func(part) {
		return func(x part) { _ = x.p.WriteData(1, ends, []byte("unread")) }
	}
	tests := []struct {
		name   string
		client bool
		before func(part)
		want   string
	}{
		{"server, no answer yet", false, nil, "RST_STREAM(INTERNAL_ERROR)"},
		{"server, peer still sending", false, func(x part) { _ = x.s.Respond(fields(ok200...), false) }, "HEADERS DATA+END RST_STREAM(NO_ERROR)"},
		{"server, bytes unread", false, func(x part) { _ = x.s.Respond(fields(ok200...), false); sendUnread(false)(x) }, "HEADERS RST_STREAM(CANCEL)"},
		{"server, all answered, bytes unread", false, func(x part) { _ = x.s.Respond(fields(ok200...), true); sendUnread(false)(x) }, "HEADERS+END RST_STREAM(NO_ERROR)"},
		{"server, ended but unread", false, func(x part) { _ = x.s.Respond(fields(ok200...), false); sendUnread(true)(x) }, "HEADERS RST_STREAM(CANCEL)"},
		{"server, peer has ended", false, func(x part) {
			_ = x.s.Respond(fields(ok200...), false)
			_ = x.p.WriteData(1, true, nil)
		}, "HEADERS DATA+END"},
		{"server, peer has reset", false, func(x part) { _ = x.p.WriteRSTStream(1, CodeCancel) }, ""},
		{"client, no answer yet", true, nil, "DATA+END RST_STREAM(CANCEL)"},
		{"client, bytes unread", true, func(x part) { x.p.head(1, false, ok200...); sendUnread(false)(x) }, "RST_STREAM(CANCEL)"},
		{"client, peer has ended", true, func(x part) { x.p.head(1, true, ok200...) }, "DATA+END"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var x part
				var c *Conn
				if test.client {
					c, x.p = clientOf(t, Config{})
					x.s = open(t, c, x.p, connect...)
				} else {
					streams, handle := handed()
					c, x.p = against(t, Config{}, handle)
					x.p.head(1, false, connect...)
					x.s = <-streams
				}
				if test.before != nil {
					test.before(x)
				}
				synctest.Wait()
				x.s.Close()
				synctest.Wait()
				if got := summary(x.p.all()); got != test.want {
					t.Errorf("the peer got %q, want %q", got, test.want)
				}
				if c.openStreams() != 0 || c.active != 0 {
					t.Errorf("%d streams open, %d not let go", c.openStreams(), c.active)
				}
				if _, err := x.s.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
					t.Errorf("Read of a closed stream: %v", err)
				}
				if err := x.s.Close(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("Close of a closed stream: %v", err)
				}
			})
		})
	}
}

func TestResetComesBehindWhatWasWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams, handle := answered(t)
		_, p := against(t, Config{}, handle)
		s := p.tunnel(1, streams)
		_, _ = s.Write([]byte("last words"))
		s.Reset(CodeConnect)
		synctest.Wait()
		if got := summary(p.all()); got != "DATA(10) RST_STREAM(CONNECT_ERROR)" {
			t.Fatalf("the peer got %q", got)
		}
	})
}

func TestReadGivesTheBytesBeforeTheError(t *testing.T) {
	tests := []struct {
		name string
		ends func(*peer, *Conn)
		want string
	}{
		{"RST_STREAM", func(p *peer, _ *Conn) { _ = p.WriteRSTStream(1, CodeConnect) }, "stream CONNECT_ERROR true"},
		{"GOAWAY with a code", func(p *peer, _ *Conn) { _ = p.WriteGoAway(1, CodeInternal, []byte("why")) }, "conn INTERNAL_ERROR true"},
		{"GOAWAY that leaves it out", func(p *peer, _ *Conn) { _ = p.WriteGoAway(0, CodeNo, nil) }, "stream REFUSED_STREAM true"},
		{"connection lost", func(p *peer, _ *Conn) { p.conn.Close() }, "broken"},
		{"our Close", func(_ *peer, c *Conn) { c.Close() }, net.ErrClosed.Error()},
		{"a violation", func(p *peer, _ *Conn) { _ = p.WriteWindowUpdate(0, 1<<31-1) }, "conn FLOW_CONTROL_ERROR false"},
		{"a violation on the stream", func(p *peer, _ *Conn) { _ = p.WriteWindowUpdate(1, 1<<31-1) }, "stream FLOW_CONTROL_ERROR false"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p := clientOf(t, Config{})
				s := open(t, c, p, connect...)
				p.head(1, false, ok200...)
				_ = p.WriteData(1, false, []byte("before"))
				done := s.Done()
				synctest.Wait()
				test.ends(p, c)
				<-done
				b, err := io.ReadAll(s)
				if string(b) != "before" || codeOf(err) != test.want {
					t.Errorf("read %q, then %q, want %q", b, codeOf(err), test.want)
				}
				if _, err := s.Write([]byte("x")); codeOf(err) != test.want {
					t.Errorf("Write: %q, want %q", codeOf(err), test.want)
				}
				s.Close()
			})
		})
	}
}

func TestDeadlinesEndTheirOwnWaits(t *testing.T) {
	waits := map[string]func(*Stream, time.Time) error{
		"Read": func(s *Stream, at time.Time) error {
			_ = s.SetReadDeadline(at)
			_, err := s.Read(make([]byte, 1))
			return err
		},
		"WriteTo": func(s *Stream, at time.Time) error {
			_ = s.SetReadDeadline(at)
			_, err := s.WriteTo(io.Discard)
			return err
		},
		"ReadHead": func(s *Stream, at time.Time) error {
			_ = s.SetDeadline(at)
			_, err := s.ReadHead(context.Background())
			return err
		},
		"Write": func(s *Stream, at time.Time) error {
			_ = s.SetWriteDeadline(at)
			n, err := s.Write(make([]byte, leastWindow+1))
			if n != leastWindow {
				return errors.New("it did not say how much went")
			}
			return err
		},
	}
	for name, wait := range waits {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p := clientOf(t, Config{})
				s := open(t, c, p, connect...)
				begin := time.Now()
				if err := wait(s, begin.Add(3*time.Second)); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatal(err)
				}
				if took := time.Since(begin); took != 3*time.Second {
					t.Fatalf("it took %v", took)
				}
				_ = s.SetDeadline(time.Time{})
				_ = p.WriteWindowUpdate(1, 1000)
				_ = p.WriteWindowUpdate(0, 1000)
				p.head(1, false, ok200...)
				_ = p.WriteData(1, true, []byte("later"))
				if _, err := s.Write([]byte("later")); err != nil {
					t.Fatalf("after the deadline was lifted: %v", err)
				}
				if got := readAll(t, s); got != "later" {
					t.Fatalf("after the deadline was lifted: %q", got)
				}
				s.Close()
			})
		})
	}
}

func TestWriteToHandsOverAllAsItComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams, handle := answered(t)
		_, p := against(t, Config{}, handle)
		s := p.tunnel(1, streams)
		defer s.Close()
		part := strings.Repeat("0123456789abcdef", 1000)
		go func() {
			for range 40 { // ten windows, so that credit must be returned
				if !p.send(1, false, []byte(part)) {
					t.Error("credit did not come back")
				}
			}
			_ = p.WriteData(1, true, nil)
		}()
		var got strings.Builder
		n, err := s.WriteTo(&got)
		if err != nil || n != int64(got.Len()) || got.String() != strings.Repeat(part, 40) {
			t.Fatalf("%d bytes, %v", n, err)
		}
	})
}
