package h2

import (
	"bytes"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// script is a net.Conn that has received all its bytes already, and whose peer reads
// everything.
type script struct {
	io.Reader
	closed bool
}

func (s *script) Write(b []byte) (int, error)      { return len(b), nil }
func (s *script) Close() error                     { s.closed = true; return nil }
func (s *script) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *script) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// seed adds the bytes of well-behaved and of misbehaving peers.
func seed(f *testing.F, client bool) {
	record := func(send func(*peer)) {
		var b bytes.Buffer
		p := &peer{Framer: http2.NewFramer(&b, nil), client: client}
		p.AllowIllegalWrites = true
		p.enc = hpack.NewEncoder(&p.block)
		_ = p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 100})
		_ = p.WriteSettingsAck()
		send(p)
		f.Add(b.Bytes())
	}
	f.Add([]byte{})
	for _, test := range badFrames {
		record(func(p *peer) {
			if client {
				p.head(1, false, connect...)
			} else {
				p.head(1, false, ok200...)
			}
			test.send(p)
			_ = p.WriteDataPadded(1, true, []byte("data"), make([]byte, 3))
			_ = p.WriteGoAway(1, CodeNo, []byte("bye"))
		})
	}
}

// wantConsistent checks invariants of a connection that hold at any time, and some that hold
// at its end.
func wantConsistent(t *testing.T, c *Conn) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.streams) != 0 || c.active != 0 || c.ready != nil || len(c.out) != 0 {
		t.Fatalf("%d streams, %d with owners, %d bytes are left", len(c.streams), c.active, len(c.out))
	}
	if c.surplus != c.cfg.MaxBuffered-c.cfg.mostActive()*c.cfg.StreamWindow {
		t.Fatalf("the surplus is %d at the end", c.surplus)
	}
	if c.in.big != nil || c.spare != nil {
		t.Fatal("buffers are left")
	}
}

func FuzzServer(f *testing.F) {
	seed(f, true)
	f.Fuzz(func(t *testing.T, b []byte) {
		synctest.Test(t, func(t *testing.T) {
			conn := &script{Reader: io.MultiReader(strings.NewReader(Preface), bytes.NewReader(b))}
			c := Server(conn, Config{EnableConnectProtocol: true, MaxStreams: 8, MaxHead: 4096}, func(s *Stream, head Head) {
				defer s.Close()
				if !head.TooLarge {
					if err := checkRequest(head.Fields, true); err != nil {
						t.Errorf("the handler got a malformed head: %v", err)
					}
				}
				_ = s.Respond(fields(ok200...), false)
				if n, err := s.WriteTo(s); err == nil && n > int64(len(b)) {
					t.Errorf("%d bytes read of %d", n, len(b))
				}
			})
			c.Wait()
			if !conn.closed {
				t.Error("the connection is not closed")
			}
			wantConsistent(t, c)
		})
	})
}

func FuzzClient(f *testing.F) {
	seed(f, false)
	f.Fuzz(func(t *testing.T, b []byte) {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			c := Client(ours, Config{MaxStreams: 8, MaxHead: 4096})
			go io.Copy(io.Discard, theirs)
			_ = http2.NewFramer(theirs, nil).WriteSettings() // without SETTINGS there is only one stream
			_, _ = c.PeerSettings(t.Context())
			var all []*Stream
			for _, request := range [][]string{connect, get1, with(get1[2:], ":method", "HEAD")} {
				s, err := c.Open(t.Context(), fields(request...), false)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, s)
			}
			go func() {
				_, _ = theirs.Write(b)
				theirs.Close()
			}()
			for _, s := range all {
				for {
					head, err := s.ReadHead(t.Context())
					if err != nil {
						break
					}
					if _, err := checkReply(head.Fields); err != nil {
						t.Errorf("the caller got a malformed head: %v", err)
					}
				}
				if n, _ := s.WriteTo(io.Discard); n > int64(len(b)) {
					t.Errorf("%d bytes read of %d", n, len(b))
				}
				s.Close()
			}
			c.Wait()
			wantConsistent(t, c)
		})
	})
}

// FuzzFields checks requests and replies that validate.go accepts in another way: by what
// they become in HTTP/1.
func FuzzFields(f *testing.F) {
	for _, pairs := range [][]string{get1, post, connect, ok200, with(get1, "te", "trailers"), with(ok200, "content-length", "4"),
		with(get1, "Upper", "x"), with(get1, "a", "b\r\nc: d"), with(get1, "a\n", ""), with(connect, ":path", "/")} {
		f.Add(strings.Join(pairs, "\x1e"))
	}
	f.Fuzz(func(t *testing.T, joined string) {
		pairs := strings.Split(joined, "\x1e")
		if len(pairs)%2 != 0 {
			pairs = append(pairs, "")
		}
		head := fields(pairs...)
		request := checkRequest(head, true) == nil
		code, err := checkReply(head)
		if reply := err == nil; request && reply {
			t.Fatalf("%q is a request and a reply", head)
		} else if !request && !reply {
			return
		}
		var http1 strings.Builder
		for _, field := range head {
			if !field.IsPseudo() {
				http1.WriteString(field.Name + ": " + field.Value + "\r\n")
			}
		}
		lines := strings.Split(strings.TrimSuffix(http1.String(), "\r\n"), "\r\n")
		regular := slices.DeleteFunc(slices.Clone(head), Field.IsPseudo)
		if len(regular) > 0 && len(lines) != len(regular) {
			t.Fatalf("%q makes %d lines of HTTP/1", head, len(lines))
		}
		for i, field := range regular {
			name, value, _ := strings.Cut(lines[i], ":")
			if name != field.Name || strings.TrimSpace(value) != strings.TrimSpace(field.Value) || name != strings.ToLower(name) || strings.ContainsAny(field.Value, "\r\n\x00") {
				t.Fatalf("%q comes out of HTTP/1 as %q: %q", field, name, value)
			}
		}
		if request && (Head{Fields: head}).Get(":method") == "" || !request && (code < 100 || code > 999) {
			t.Fatalf("%q passed", head)
		}
	})
}
