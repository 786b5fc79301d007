package h2

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"
)

func TestCheckRequest(t *testing.T) {
	websocket := []string{":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":path", "/", ":authority", "a"}
	tests := []struct {
		fields []string
		want   string // part of the error; empty if there is none
	}{
		{get1, ""},
		{connect, ""},
		{websocket, ""},
		{with(get1, "a", "b", "te", "trailers", "x-1", "\x80 \t !"), ""},
		{[]string{":method", "OPTIONS", ":scheme", "https", ":authority", "a", ":path", "*"}, ""},
		{[]string{":method", "OPTIONS", ":scheme", "https", ":path", "*", "host", "a"}, ""},
		{[]string{":method", "OPTIONS", ":scheme", "https", ":path", "*"}, "neither :authority nor host"},
		{[]string{":method", "GET", ":scheme", "http", ":path", "/", "host", ""}, "host is empty"},
		{[]string{":method", "GET", ":scheme", "http", ":path", "/", "host", "a", "host", "a"}, "host occurs twice"},
		{[]string{":method", "GET", ":scheme", "http", ":path", "/", "host", "a b"}, ":authority is no host"},
		{with(get1, "host", "other.test"), "host differs"},
		{[]string{":method", "GET", ":scheme", "http", ":authority", "a:80", ":path", "/", "host", "A"}, ""},
		{[]string{":method", "GET", ":scheme", "http", ":authority", "a b", ":path", "/"}, ":authority is no host"},
		{[]string{":method", "GET", ":scheme", "http", ":authority", "a\x80", ":path", "/"}, ":authority is no host"},
		{[]string{":method", "CONNECT", ":authority", "a:1\tb"}, ":authority is no host"},
		{[]string{":method", "GET", ":scheme", "http://b/?a=", ":authority", "a", ":path", "/"}, ":scheme is no scheme"},
		{[]string{":method", "GET", ":scheme", "1http", ":authority", "a", ":path", "/"}, ":scheme is no scheme"},
		{with(get1[:6], ":path", "/x HTTP/1.1"), ":path holds a character"},
		{with(get1[:6], ":path", "/x\ty"), ":path holds a character"},
		{with(get1[:6], ":path", "/\xc3\xa9"), ":path holds a character"},
		{with(get1[:6], ":path", "/a#b"), ":path holds a character"},
		{with(websocket[:4], ":scheme", "http://b/", ":path", "/", ":authority", "a"), ":scheme is no scheme"},
		{with(websocket[:4], ":scheme", "http", ":path", "/a b", ":authority", "a"), ":path holds a character"},
		{[]string{":method", "GET", ":scheme", "urn", ":path", "a:b"}, ""},
		{nil, ":method is missing"},
		{get1[2:], ":method is missing"},
		{with(get1[2:], ":method", ""), ":method is missing"},
		{with(get1[2:], ":method", "G T"), "no token"},
		{with(get1, ":method", "GET"), ":method occurs twice"},
		{with(get1[:2], get1[4:]...), ":scheme or :path is missing"},
		{get1[:6], ":scheme or :path is missing"},
		{with(get1[:6], ":path", ""), ":scheme or :path is missing"},
		{with(get1[:6], ":path", "x"), "slash"},
		{with(get1[:6], ":path", "*"), "slash"},
		{with(get1[:6], ":path", "/\r\nx: y"), ":path holds a character"},
		{with(get1, "a", "b", ":path", "/"), "behind others"},
		{with(get1, ":status", "200"), "does not belong"},
		{with(get1, ":new", "x"), "does not belong"},
		{with(get1, ":protocol", "websocket"), ":protocol without CONNECT"},
		{with(connect, ":path", "/"), "neither"},
		{with(connect, ":scheme", "https"), "neither"},
		{connect[:2], "lacks :authority"},
		{websocket[:8], "lacks"},
		{with(websocket[:4], websocket[6:]...), "lacks"},
		{with(get1, "", "x"), "no lower-case token"},
		{with(get1, "Upper", "x"), "no lower-case token"},
		{with(get1, "a b", "x"), "no lower-case token"},
		{with(get1, "a:", "x"), "no lower-case token"},
		{with(get1, "\x80", "x"), "no lower-case token"},
		{with(get1, "a", "x\ny"), "a holds a character"},
		{with(get1, "a", "x\x00"), "a holds a character"},
		{with(get1, "a", "x\x7f"), "a holds a character"},
		{with(get1, "a", " x"), "a holds a character"},
		{with(get1, "a", "x\t"), "a holds a character"},
		{with(get1, "connection", "close"), "connection is not for"},
		{with(get1, "proxy-connection", "close"), "proxy-connection is not for"},
		{with(get1, "keep-alive", "5"), "keep-alive is not for"},
		{with(get1, "transfer-encoding", "chunked"), "transfer-encoding is not for"},
		{with(get1, "upgrade", "h2c"), "upgrade is not for"},
		{with(get1, "te", "gzip"), "te is more"},
	}
	for _, test := range tests {
		err := checkRequest(fields(test.fields...), true)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: got %v, want %q", test.fields, err, test.want)
		}
	}
	if err := checkRequest(fields(websocket...), false); err == nil {
		t.Error("an extended CONNECT passes that was not announced")
	}
	if err := checkRequest(fields(with(get1, "x-token", "secret\n")...), true); strings.Contains(err.Error(), "secret") {
		t.Errorf("the error tells a value: %v", err)
	}
}

func TestCheckReply(t *testing.T) {
	tests := []struct {
		fields []string
		code   int // 0 if malformed
	}{
		{ok200, 200},
		{[]string{":status", "103", "link", "x"}, 103},
		{[]string{":status", "999"}, 999},
		{nil, 0},
		{[]string{"a", "b"}, 0},
		{[]string{":status", ""}, 0},
		{[]string{":status", "20"}, 0},
		{[]string{":status", "2000"}, 0},
		{[]string{":status", "+20"}, 0},
		{[]string{":status", "-20"}, 0},
		{[]string{":status", "099"}, 0},
		{[]string{":status", "101"}, 0},
		{with(ok200, ":status", "200"), 0},
		{with(ok200, ":path", "/"), 0},
		{with(ok200, "connection", "close"), 0},
		{with(ok200, "A", "b"), 0},
		{[]string{"a", "b", ":status", "200"}, 0},
	}
	for _, test := range tests {
		code, err := checkReply(fields(test.fields...))
		if (err == nil) != (test.code != 0) || err == nil && code != test.code {
			t.Errorf("%q: got %d, %v, want %d", test.fields, code, err, test.code)
		}
	}
}

func TestContentLength(t *testing.T) {
	tests := []struct {
		values []string
		want   int64 // -2 if malformed
	}{
		{nil, -1}, {[]string{"0"}, 0}, {[]string{"7"}, 7}, {[]string{"7", "7"}, 7}, {[]string{"007"}, 7},
		{[]string{"7", "8"}, -2}, {[]string{"-1"}, -2}, {[]string{"+1"}, -2}, {[]string{""}, -2}, {[]string{"1, 1"}, -2},
		{[]string{"0x1"}, -2}, {[]string{"9223372036854775807"}, 1<<63 - 1}, {[]string{"9223372036854775808"}, -2},
	}
	for _, test := range tests {
		var head []Field
		for _, v := range test.values {
			head = append(head, Field{Name: "content-length", Value: v})
		}
		if got, err := contentLength(head); (err != nil) != (test.want == -2) || err == nil && got != test.want {
			t.Errorf("%q: got %d, %v", test.values, got, err)
		}
	}
}

func TestRequestsThatAreMalformedAsAWhole(t *testing.T) {
	tests := []struct {
		name string
		cfg  Config
		head []string
		ok   bool
	}{
		{"content-length without content", Config{}, with(post, "content-length", "5"), false},
		{"content-length of nothing", Config{}, with(post, "content-length", "0"), true},
		{"two lengths", Config{}, with(post, "content-length", "0", "content-length", "1"), false},
		{"CONNECT with a length that means nothing", Config{}, with(connect, "content-length", "5"), true},
		{"extended CONNECT, announced", Config{EnableConnectProtocol: true}, with(get1[2:], ":method", "CONNECT", ":protocol", "websocket"), true},
		{"extended CONNECT, not announced", Config{}, with(get1[2:], ":method", "CONNECT", ":protocol", "websocket"), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				streams, handle := handed()
				_, p := against(t, test.cfg, handle)
				p.head(1, true, test.head...)
				synctest.Wait()
				if got := summary(p.all()); (got == "") != test.ok || (len(streams) == 1) != test.ok {
					t.Fatalf("the peer got %q, %d handlers ran", got, len(streams))
				}
				for len(streams) > 0 {
					(<-streams).Close()
				}
			})
		})
	}
}

func TestExtendedConnectIsAnnouncedWhereItIsEnabled(t *testing.T) {
	for _, enabled := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			_, p := against(t, Config{EnableConnectProtocol: enabled, MaxStreams: 7, MaxHead: 5000, StreamWindow: 1 << 17}, nil)
			got := map[http2.SettingID]uint32{}
			for _, s := range p.next(http2.FrameSettings).Settings {
				got[s.ID] = s.Val
			}
			if (got[http2.SettingEnableConnectProtocol] == 1) != enabled || got[http2.SettingMaxConcurrentStreams] != 7 ||
				got[http2.SettingMaxHeaderListSize] != 5000 || got[http2.SettingInitialWindowSize] != 1<<17 {
				t.Errorf("enabled %v: announced %v", enabled, got)
			}
		})
	}
}

func TestRepliesAreReadAsTheyMustBe(t *testing.T) {
	tests := []struct {
		name    string
		request []string
		send    func(*peer)
		want    string // the status codes of the heads, content and trailers, or the error
	}{
		{"plain", get1, func(p *peer) { p.head(1, false, ok200...); _ = p.WriteData(1, true, []byte("body")) }, "200 body"},
		{"without content", get1, func(p *peer) { p.head(1, true, ok200...) }, "200"},
		{"interim heads", get1, func(p *peer) {
			p.head(1, false, ":status", "100")
			p.head(1, false, ":status", "103", "link", "x")
			p.head(1, true, ok200...)
		}, "100 103 200"},
		{"trailers", get1, func(p *peer) {
			p.head(1, false, with(ok200, "content-length", "4")...)
			_ = p.WriteData(1, false, []byte("body"))
			p.head(1, true, "sum", "7")
		}, "200 body sum=7"},
		{"an interim head that ends", get1, func(p *peer) { p.head(1, true, ":status", "100") }, "PROTOCOL_ERROR"},
		{"content before the head", get1, func(p *peer) { _ = p.WriteData(1, true, []byte("x")) }, "PROTOCOL_ERROR"},
		{"content behind an interim head", get1, func(p *peer) {
			p.head(1, false, ":status", "100")
			_ = p.WriteData(1, true, []byte("x"))
		}, "100 PROTOCOL_ERROR"},
		{"101", get1, func(p *peer) { p.head(1, false, ":status", "101") }, "PROTOCOL_ERROR"},
		{"HEAD with a length", with(get1[2:], ":method", "HEAD"), func(p *peer) { p.head(1, true, with(ok200, "content-length", "4")...) }, "200"},
		{"HEAD with content", with(get1[2:], ":method", "HEAD"), func(p *peer) {
			p.head(1, false, ok200...)
			_ = p.WriteData(1, true, []byte("x"))
		}, "200 PROTOCOL_ERROR"},
		{"304 with a length", get1, func(p *peer) { p.head(1, true, ":status", "304", "content-length", "4") }, "304"},
		{"204 with content", get1, func(p *peer) {
			p.head(1, false, ":status", "204")
			_ = p.WriteData(1, true, []byte("x"))
		}, "204 PROTOCOL_ERROR"},
		{"a length without content", get1, func(p *peer) { p.head(1, true, with(ok200, "content-length", "4")...) }, "PROTOCOL_ERROR"},
		{"a tunnel with a length", connect, func(p *peer) {
			p.head(1, false, with(ok200, "content-length", "1")...)
			_ = p.WriteData(1, true, []byte("tunnel"))
		}, "200 tunnel"},
		{"a tunnel with trailers", connect, func(p *peer) { p.head(1, false, ok200...); p.head(1, true, "a", "b") }, "200 PROTOCOL_ERROR"},
		{"a tunnel refused", connect, func(p *peer) {
			p.head(1, false, ":status", "403", "content-length", "2")
			_ = p.WriteData(1, false, []byte("no"))
			p.head(1, true, "a", "b")
		}, "403 no a=b"},
		{"a tunnel refused at length", connect, func(p *peer) {
			p.head(1, false, ":status", "403", "content-length", "1")
			_ = p.WriteData(1, true, []byte("no"))
		}, "403 PROTOCOL_ERROR"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p := clientOf(t, Config{})
				s := open(t, c, p, test.request...)
				defer s.Close()
				test.send(p)
				synctest.Wait()
				if got := account(t, s); got != test.want {
					t.Fatalf("got %q, want %q", got, test.want)
				}
			})
		})
	}
}

// account reads a reply to its end and returns a summary.
func account(t *testing.T, s *Stream) string {
	var words []string
	for {
		head, err := s.ReadHead(t.Context())
		var broken *StreamError
		if errors.As(err, &broken) {
			return strings.Join(append(words, broken.Code.String()), " ")
		}
		if err != nil {
			break
		}
		words = append(words, head.Get(":status"))
		if head.Status() >= 200 {
			break
		}
	}
	b, err := io.ReadAll(s)
	if len(b) > 0 {
		words = append(words, string(b))
	}
	var broken *StreamError
	if errors.As(err, &broken) {
		words = append(words, broken.Code.String())
	}
	for _, f := range s.Trailer() {
		words = append(words, f.Name+"="+f.Value)
	}
	return strings.Join(words, " ")
}

func TestAnswersAreCheckedBeforeTheyAreSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams, handle := handed()
		_, p := against(t, Config{}, handle)
		p.head(1, true, get1...)
		s := <-streams
		bad := map[string]error{
			"content before the head": func() error { _, err := s.Write([]byte("x")); return err }(),
			"CloseWrite before it":    s.CloseWrite(),
			"a final 103":             s.Respond(fields(":status", "103"), false),
			"an interim 200":          s.Interim(fields(ok200...)),
			"an upper-case name":      s.Respond(fields(with(ok200, "A", "b")...), false),
		}
		_ = s.Interim(fields(":status", "103"))
		_ = s.Respond(fields(ok200...), false)
		bad["a second head"] = s.Respond(fields(ok200...), false)
		bad["an interim head behind the final"] = s.Interim(fields(":status", "103"))
		bad["trailers with a pseudo-header field"] = s.SendTrailers(fields(ok200...))
		_ = s.SendTrailers(fields("a", "b"))
		bad["trailers twice"] = s.SendTrailers(fields("a", "b"))
		for what, err := range bad {
			if err == nil {
				t.Errorf("%s passed", what)
			}
		}
		synctest.Wait()
		if got := summary(p.all()); got != "HEADERS HEADERS HEADERS+END" {
			t.Errorf("the peer got %s", got)
		}
		s.Close()
	})
}
