package client

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/internal/testkit"
)

// overPipe returns a handshake over a conn in memory, for tests with a fake clock, and
// the end of a proxy that sends the reply and then nothing.
func overPipe(t *testing.T, reply string) (h *http1Handshake, proxy net.Conn) {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	go func() {
		bufio.NewReader(theirs).ReadString('\n')
		go io.Copy(io.Discard, theirs)
		io.WriteString(theirs, reply)
	}()
	return &http1Handshake{&hopRequest{client: &Client{}, next: testkit.MustAuthority(t, "example.com:22")}, ours, bufio.NewReader(ours)}, theirs
}

func TestDeadlineOfReply(t *testing.T) {
	for _, reply := range []string{"", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 Continue\r\n\r\n"} {
		t.Run(fmt.Sprintf("after %q", reply), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				h, _ := overPipe(t, reply)
				start := time.Now()
				_, _, e := h.run(ctx)
				if e == nil || e.Type != tunnel.ErrorConnectionReadTimeout || e.Phase != tunnel.PhaseReply {
					t.Errorf("got %v, want a timeout", e)
				}
				if got := time.Since(start); got != time.Minute {
					t.Errorf("took %v, want a minute", got)
				}
			})
		})
	}
}

// Bytes that are received now and then do not extend the deadline.
func TestDeadlineOfDrippingReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		h, proxy := overPipe(t, "HTTP/1.1 200 OK\r\nX: ")
		var drip sync.WaitGroup
		drip.Go(func() {
			for {
				time.Sleep(time.Second) // of the fake clock
				if _, err := io.WriteString(proxy, "a"); err != nil {
					return
				}
			}
		})
		start := time.Now()
		_, _, e := h.run(ctx)
		if e == nil || e.Type != tunnel.ErrorConnectionReadTimeout || time.Since(start) != time.Minute {
			t.Errorf("got %v after %v, want a timeout after a minute", e, time.Since(start))
		}
		h.conn.Close()
		drip.Wait()
	})
}

// The head of a refusal is sufficient. The Client waits for its content at most a second,
// and no longer than the caller's context allows.
func TestSlowRefusalKeepsToDeadline(t *testing.T) {
	for _, tt := range []struct {
		name string
		ctx  func(context.Context) (context.Context, context.CancelFunc)
		want time.Duration
	}{
		{"own bound", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithCancel(ctx)
		}, bodyWait},
		{"caller's deadline", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 100*time.Millisecond)
		}, 100 * time.Millisecond},
		{"cancelled meanwhile", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(200*time.Millisecond, cancel)
			return ctx, cancel
		}, 200 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := tt.ctx(t.Context())
				defer cancel()
				h, _ := overPipe(t, "HTTP/1.1 403 Forbidden\r\nContent-Length: 10\r\n\r\nbeca")
				start := time.Now()
				_, _, e := h.run(ctx)
				if got := time.Since(start); got != tt.want {
					t.Errorf("took %v, want %v", got, tt.want)
				}
				if e == nil || e.Status != 403 || e.Detail != "beca" {
					t.Errorf("got %v, want 403 and what came of its content", e)
				}
			})
		})
	}
}

// A 407 whose content ends with the connection costs no time if it is answered, and little
// if it is not: without a length the proxy may mean that there is none.
func TestUnframed407(t *testing.T) {
	for _, tt := range []struct {
		name, reply string
		login       *login
		want        time.Duration
		again       bool
	}{
		{"answered", "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\n\r\n", &login{schemes: []string{AuthBasic}}, 0, true},
		{"answered, a length and close", "HTTP/1.1 407 No\r\nConnection: close\r\nContent-Length: 9\r\nProxy-Authenticate: Basic\r\n\r\n", &login{schemes: []string{AuthBasic}}, 0, true},
		{"no scheme for it", "HTTP/1.1 407 No\r\nProxy-Authenticate: Hawk\r\n\r\n", &login{schemes: []string{AuthBasic}}, loginBodyWait, false},
		{"nothing to log in with", "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\n\r\n", nil, loginBodyWait, false},
		{"a length", "HTTP/1.1 407 No\r\nContent-Length: 9\r\nProxy-Authenticate: Hawk\r\n\r\n", nil, bodyWait, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, _ := overPipe(t, tt.reply)
				h.login = tt.login
				start := time.Now()
				_, _, e := h.run(t.Context())
				if took := time.Since(start); took != tt.want || h.reconnect != tt.again || e == nil || e.Type != tunnel.ErrorCredentials {
					t.Errorf("%v after %v, again %t; want %v, %t", e, took, h.reconnect, tt.want, tt.again)
				}
			})
		})
	}
}

// A proxy that says nothing more on a connection that carried its 407 gets the request once
// more over another one, soon enough for that to be of use. Then it has the whole deadline.
func TestSilenceAfterA407(t *testing.T) {
	for _, tt := range []struct {
		name     string
		deadline time.Duration // 0 = none
		tried    bool          // over another connection
		wait     time.Duration
	}{
		{"long deadline", time.Minute, false, reuseWait},
		{"short deadline", 4 * time.Second, false, 2 * time.Second},
		{"no deadline", 0, false, reuseWait},
		{"tried before", time.Minute, true, time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if tt.deadline > 0 {
					bounded, cancel := context.WithTimeout(ctx, tt.deadline)
					defer cancel()
					ctx = bounded
				}
				h, _ := overPipe(t, "HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n")
				h.login = &login{schemes: []string{AuthNTLM}, fellSilent: tt.tried}
				start := time.Now()
				_, _, e := h.run(ctx)
				if took := time.Since(start); took != tt.wait || h.reconnect == tt.tried || e == nil || e.Type != tunnel.ErrorConnectionReadTimeout {
					t.Fatalf("%v after %v, again %t; want %v, %t", e, took, h.reconnect, tt.wait, !tt.tried)
				}
				if e.Login == nil || !e.Login.FellSilent || e.Login.Sent {
					t.Errorf("the login is %+v", e.Login)
				}
			})
		})
	}
}

// The deadline of the opening does not stay on the conn of the open tunnel.
func TestOpenTunnelHasNoDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		h, proxy := overPipe(t, "HTTP/1.1 200 OK\r\n\r\n")
		if _, _, e := h.run(ctx); e != nil {
			t.Fatal(e)
		}
		go func() {
			time.Sleep(time.Hour) // of the fake clock
			io.WriteString(proxy, "late")
		}()
		testkit.Expect(t, h.br, "late")
	})
}
