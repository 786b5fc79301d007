package h2

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

func TestTimeouts(t *testing.T) {
	cfg := Config{SettingsTimeout: 3 * time.Second, IdleTimeout: time.Minute, PingAfter: 20 * time.Second, PingTimeout: 5 * time.Second}
	preface := func(p *peer) { _, _ = io.WriteString(p.conn, Preface) }
	tests := []struct {
		name  string
		play  func(*peer)
		after time.Duration
		want  string
	}{
		{"no preface", func(p *peer) {}, 3 * time.Second, "conn SETTINGS_TIMEOUT false"},
		{"half a preface", func(p *peer) { _, _ = io.WriteString(p.conn, Preface[:9]) }, 3 * time.Second, "conn SETTINGS_TIMEOUT false"},
		{"no SETTINGS", preface, 3 * time.Second, "conn SETTINGS_TIMEOUT false"},
		{"SETTINGS not acknowledged", func(p *peer) {
			preface(p)
			_ = p.WriteSettings()
			p.head(1, false, connect...)
		}, 3 * time.Second, "conn SETTINGS_TIMEOUT false"},
		{"a field block that stops", func(p *peer) {
			preface(p)
			_ = p.WriteSettings()
			_ = p.WriteSettingsAck()
			_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1})
		}, 3 * time.Second, "broken"},
		{"silence", func(p *peer) {
			preface(p)
			_ = p.WriteSettings()
			_ = p.WriteSettingsAck()
			p.head(1, false, connect...)
		}, 25 * time.Second, "broken"},
		{"no streams", func(p *peer) {
			preface(p)
			_ = p.WriteSettings()
			_ = p.WriteSettingsAck()
			for p.WritePing(true, [8]byte{}) == nil {
				time.Sleep(time.Second)
			}
		}, time.Minute, "<nil>"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				c := Server(ours, cfg, func(s *Stream, _ Head) { <-s.Done(); s.Close() })
				defer func() { c.Close(); c.Wait() }()
				p := newPeer(t, theirs, true)
				go p.read()
				begin := time.Now()
				played := make(chan bool)
				go func() { test.play(p); close(played) }()
				<-c.Done()
				<-played
				if took := time.Since(begin); took < test.after || took > test.after+drainGrace || codeOf(c.Err()) != test.want {
					t.Fatalf("after %v it ended with %q: %v", took, codeOf(c.Err()), c.Err())
				}
				theirs.Close()
			})
		})
	}
}

func TestPingsKeepAnAnsweringPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := clientOf(t, Config{PingAfter: 10 * time.Second, PingTimeout: time.Second})
		s := open(t, c, p, connect...)
		defer s.Close()
		for i := range 5 {
			time.Sleep(10 * time.Second)
			synctest.Wait()
			frames := p.all()
			if len(frames) == 0 || frames[len(frames)-1].Type != http2.FramePing {
				t.Fatalf("no PING after silence %d", i)
			}
			_ = p.WritePing(true, frames[len(frames)-1].ping)
		}
		if c.Err() != nil || c.openStreams() != 1 {
			t.Fatal(c.Err())
		}
	})
}

func TestShutdownOfAServerLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams, handle := answered(t)
		c, p := against(t, Config{}, handle)
		old := p.tunnel(1, streams)
		c.Shutdown()
		c.Shutdown() // does nothing
		if f := p.next(http2.FrameGoAway); f.LastStream != 1<<31-1 || f.Code != CodeNo {
			t.Fatalf("first %+v", f.Frame)
		}
		ping := p.next(http2.FramePing)
		underWay := p.tunnel(3, streams) // the client has not received the GOAWAY yet
		_ = p.WritePing(true, ping.ping)
		if f := p.next(http2.FrameGoAway); f.LastStream != 3 || f.Code != CodeNo {
			t.Fatalf("then %+v", f.Frame)
		}
		// Frames that cross the second GOAWAY are ignored.
		p.head(5, false, connect...)
		_ = p.WriteData(5, false, []byte("x"))
		_ = p.WriteWindowUpdate(5, 1)
		_ = p.WriteRSTStream(5, CodeCancel)
		_ = p.WriteData(1, true, []byte("still"))
		if got := readAll(t, old); got != "still" {
			t.Fatal(got)
		}
		old.Close()
		p.next(http2.FrameData)
		_, _ = underWay.Write([]byte("the end"))
		_ = p.WriteData(3, true, nil)
		readAll(t, underWay)
		underWay.Close()
		<-c.Done()
		if got := summary(p.rest()); got != "DATA(7) DATA+END" || c.Err() != nil {
			t.Fatalf("the peer got %q; %v", got, c.Err())
		}
	})
}

func TestShutdownDoesNotWaitForAnAnswerToItsPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := against(t, Config{}, func(*Stream, Head) {})
		synctest.Wait()
		begin := time.Now()
		c.Shutdown()
		<-c.Done()
		if took := time.Since(begin); took != goAwayGrace || summary(p.rest()) != "GOAWAY(NO_ERROR) GOAWAY(NO_ERROR)" {
			t.Fatalf("it took %v", took)
		}
	})
}

// The last bytes before an orderly end have more time than those before an error.
func TestShutdownLetsASlowPeerHaveTheLastBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		streams, handle := answered(t)
		c := Server(ours, Config{}, handle)
		defer func() { c.Close(); c.Wait() }()
		p := newPeer(t, theirs, true)
		_, _ = io.WriteString(theirs, Preface)
		go func() {
			_ = p.WriteSettings()
			_ = p.WriteSettingsAck()
			p.head(1, true, connect...)
		}()
		s := <-streams
		c.Shutdown()
		_, _ = s.Write(make([]byte, 50000))
		s.Close()
		time.Sleep(5 * time.Second)
		go p.read()
		if got := summary(p.rest()); !strings.Contains(got, "DATA+END") {
			t.Fatalf("the peer got %q", got)
		}
	})
}

func TestGoAwayLetsAClientFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := clientOf(t, Config{})
		s := open(t, c, p, connect...)
		lost := open(t, c, p, connect...)
		_ = p.WriteGoAway(1, CodeNo, nil)
		<-lost.Done()
		if got := codeOf(lost.Err()); got != "stream REFUSED_STREAM true" {
			t.Fatalf("a stream that the server did not look at: %s", got)
		}
		lost.Close()
		if _, err := c.Open(t.Context(), fields(connect...), false); !errors.Is(err, ErrGoingAway) {
			t.Fatalf("Open: %v", err)
		}
		p.head(1, false, ok200...)
		_ = p.WriteData(1, true, []byte("fine"))
		if got := readAll(t, s); got != "fine" {
			t.Fatal(got)
		}
		s.Close()
		<-c.Done()
		if c.Err() != nil {
			t.Fatal(c.Err())
		}
	})
}

func TestOpenWaitsForASlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := clientOf(t, Config{}, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 2})
		_, _ = c.PeerSettings(t.Context())
		first := open(t, c, p, connect...)
		open(t, c, p, connect...)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := c.Open(ctx, fields(connect...), false); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("a third stream of two: %v", err)
		}
		opened := make(chan error, 2)
		for range 2 {
			go func() {
				_, err := c.Open(context.Background(), fields(connect...), false)
				opened <- err
			}()
		}
		synctest.Wait()
		first.Reset(CodeCancel)
		if err := <-opened; err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(opened) != 0 {
			t.Fatal("one slot served two")
		}
		c.Close()
		if err := <-opened; !errors.Is(err, ErrGoingAway) {
			t.Fatalf("Open on a closed connection: %v", err)
		}
	})
}

// A server that closes before it sends anything is an error, whether a stream was opened by
// then or not.
func TestAnEndBeforeTheServersSettingsIsNone(t *testing.T) {
	for _, early := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c, theirs := clientOfNothing(t, Config{})
			synctest.Wait() // the preface is written
			if !early {
				theirs.Close()
				synctest.Wait()
			}
			s, err := c.Open(t.Context(), fields(connect...), false)
			if early {
				synctest.Wait()
				theirs.Close()
				_, err = s.ReadHead(t.Context())
				s.Close()
			}
			var broken *ConnError
			if !errors.As(err, &broken) || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("the stream opened first: %t; its error is %v", early, err)
			}
		})
	}
}

// A server may refuse streams above a limit that it has not announced yet.
func TestOpenSendsOneStreamBeforeTheServersLimitIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, theirs := clientOfNothing(t, Config{})
		var opened atomic.Int32
		for range 5 {
			go func() {
				if _, err := c.Open(t.Context(), fields(connect...), false); err == nil {
					opened.Add(1)
				}
			}()
		}
		synctest.Wait()
		if opened.Load() != 1 || c.Known() || c.Room() != 0 {
			t.Fatalf("%d streams are open before the server's SETTINGS are here, room for %d", opened.Load(), c.Room())
		}
		_ = http2.NewFramer(theirs, nil).WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 3})
		synctest.Wait()
		if opened.Load() != 3 || !c.Known() || c.Room() != 0 {
			t.Fatalf("%d streams are open where the server allows 3, room for %d", opened.Load(), c.Room())
		}
	})
}

func TestOpenKeepsToItsOwnLimitWhereTheServerHasNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := clientOf(t, Config{MaxStreams: 120})
		settings, err := c.PeerSettings(t.Context())
		if err != nil || settings.MaxStreams <= 120 {
			t.Fatalf("%+v, %v", settings, err)
		}
		for range 120 {
			open(t, c, p, connect...)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Open(ctx, fields(connect...), false); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	})
}

// Close must end every call that waits. synctest fails if a goroutine is left.
func TestCloseFreesAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := clientOf(t, Config{}, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
		_, _ = c.PeerSettings(t.Context())
		s := open(t, c, p, connect...)
		waits := []func() error{
			func() error { _, err := s.Read(make([]byte, 1)); return err },
			func() error { _, err := s.Write(make([]byte, 1<<20)); return err },
			func() error { _, err := s.Write(make([]byte, 1<<20)); return err },
			func() error { _, err := s.ReadHead(context.Background()); return err },
			func() error { _, err := c.Open(context.Background(), fields(connect...), false); return err },
			func() error { <-s.Done(); return net.ErrClosed },
			func() error { _ = c.Wait(); return net.ErrClosed },
		}
		errs := make(chan error)
		for _, wait := range waits {
			go func() { errs <- wait() }()
		}
		synctest.Wait()
		c.Close()
		for range waits {
			if err := <-errs; !errors.Is(err, net.ErrClosed) && !errors.Is(err, ErrGoingAway) {
				t.Error(err)
			}
		}
		if got := summary(p.rest()); got[len(got)-len("GOAWAY(NO_ERROR)"):] != "GOAWAY(NO_ERROR)" {
			t.Errorf("the peer got %s", got)
		}
		s.Close()
	})
}

// A peer that neither reads nor closes does not keep an ended connection open.
func TestCloseDoesNotWaitForADeafPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		c := Client(ours, Config{})
		s, err := c.Open(t.Context(), fields(connect...), false)
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		c.Close()
		if c.Wait(); time.Since(begin) > closeGrace {
			t.Fatalf("it took %v", time.Since(begin))
		}
		s.Close()
	})
}
