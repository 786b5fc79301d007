package client_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/explain"
	"culvert/tunnel/internal/clienttest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"
)

// If a reply opens no tunnel, the error is the same with KeepUnread and without, even if
// the content has empty lines.
func TestKeepUnreadTellsTheSameFailures(t *testing.T) {
	send, finish := tunneltest.Send, tunneltest.Finish
	for _, tt := range []struct {
		name    string
		timeout time.Duration
		script  []tunneltest.Step
	}{
		{"nothing", 0, []tunneltest.Step{finish}},
		{"half a head", 0, []tunneltest.Step{send("HTTP/1.1 200 OK\r\nX: y\r\n"), finish}},
		{"a head but for its last byte", 0, []tunneltest.Step{tunneltest.SendBytewise("HTTP/1.1 200 OK\r\n\r"), finish}},
		{"reset", 0, []tunneltest.Step{tunneltest.Cut}},
		{"no answer in time", 10 * testkit.BriefWait, []tunneltest.Step{tunneltest.Hold}},
		{"no end in time", 10 * testkit.BriefWait, []tunneltest.Step{send("HTTP/1.1 200 OK\r\n"), tunneltest.Hold}},
		{"another protocol", 0, []tunneltest.Step{send("SSH-2.0-x\r\n"), finish}},
		{"head too large", 0, []tunneltest.Step{send("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 70<<10)), finish}},
		{"content until the end", 0, []tunneltest.Step{send("HTTP/1.1 403 No\r\n\r\n\n\nnot\n\n\r\nhere\n\n"), finish}},
		{"content of a length", 0, []tunneltest.Step{send("HTTP/1.1 403 No\r\nContent-Length: 10\r\n\r\nnot\n\nhere\n\n"), finish}},
		{"content in chunks", 0, []tunneltest.Step{send("HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nnot\n\n\r\n4\r\nhere\r\n0\r\n\r\n"), finish}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var errs [2]string
			for i, keep := range []bool{false, true} {
				p := tunneltest.StartProxy(t, append([]tunneltest.Step{tunneltest.ReadHead}, tt.script...)...)
				c := clienttest.Proxied(t, p.Addr())
				c.KeepUnread, c.Timeout = keep, tt.timeout
				conn, err := c.Open(t.Context(), testkit.MustAuthority(t, "example.com:22"))
				if err == nil {
					conn.Close()
					t.Fatal("the tunnel is open")
				}
				sentence, hint := explain.Error(err)
				errs[i] = strings.ReplaceAll(fmt.Sprintf("%d %v\n%s\n%s", tunnel.ExitCode(err), err, sentence, hint), p.Addr(), "PROXY")
			}
			if errs[0] != errs[1] {
				t.Errorf("got %s\nwant %s", errs[1], errs[0])
			}
		})
	}
}

func TestKeepUnreadIsCancelled(t *testing.T) {
	for _, reply := range []string{"", "HTTP/1.1 200 OK\r\n"} {
		ctx, cancel := context.WithCancel(t.Context())
		p := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Send(reply), func(*tunneltest.Turn) bool {
			cancel()
			return true
		}, tunneltest.Hold)
		c := clienttest.Proxied(t, p.Addr())
		c.Timeout, c.KeepUnread = -1, true
		if _, err := c.Open(ctx, testkit.MustAuthority(t, "example.com:22")); !errors.Is(err, context.Canceled) {
			t.Errorf("after %q: %v is not context.Canceled", reply, err)
		}
	}
}

// If a head is received in two pieces, cut anywhere, a read ends after its empty line, and
// none goes past it.
func TestThroughEmptyLineOverEveryCut(t *testing.T) {
	for text, want := range map[string]int{
		"a: b\r\n\r\nrest": 8, "a: b\n\nrest": 6, "a: b\n\r\nrest": 7, "a: b\r\n\nrest": 7, "a\r\n\r\n\r\n": 5,
		"a\r\r\n\r\nx": 6, "a\n\r\r\n\n": 6, "\r\n\r\n": 2, "\n\n": 1, "a\n\rb\n\n\n": 6, "a\r\nb\r\n": 6, "a\r\n\r": 4,
	} {
		for cut := range want + 1 {
			at := 0
			for at < cut {
				at += client.ThroughEmptyLine([]byte(text[at:cut]))
			}
			for at < want {
				at += client.ThroughEmptyLine([]byte(text[at:]))
			}
			if at != want {
				t.Errorf("%q cut at %d: reads end at %d, want %d", text, cut, at, want)
			}
		}
		if n := client.ThroughEmptyLine([]byte(text)); n != want {
			t.Errorf("%q in one piece: %d, want %d", text, n, want)
		}
	}
}
