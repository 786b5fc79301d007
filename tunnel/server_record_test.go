package tunnel

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"culvert/tunnel/tunneltest"
)

// cancelled is a context that is over: Shutdown waits for nothing.
func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// DESIGN 3: every ending has its closed_by, and exact counts.
func TestRecordOfEachEnding(t *testing.T) {
	lingered := make(chan struct{})
	stay := func(t *testing.T, _ *testServer, conn net.Conn) { expect(t, conn, "hello") }
	for _, tt := range []struct {
		name     string
		server   *Server
		target   tunneltest.Handler
		client   func(t *testing.T, ts *testServer, conn net.Conn) // has sent "ping"
		closedBy string
		broken   bool
		up, down int
	}{
		{"client first", &Server{}, tunneltest.Count, func(t *testing.T, _ *testServer, conn net.Conn) {
			halfClose(t, conn)
			expectLast(t, conn, "4 bytes\n")
		}, "client", false, 4, 8},
		{"target first", &Server{}, tunneltest.Say("hello"), func(t *testing.T, _ *testServer, conn net.Conn) {
			expectLast(t, conn, "hello")
			conn.Close()
		}, "target", false, 4, 5},
		{"client reset", &Server{}, tunneltest.Greet("hello"), func(t *testing.T, _ *testServer, conn net.Conn) {
			expect(t, conn, "helloping")
			reset(conn)
		}, "client", true, 4, 9},
		{"target reset", &Server{}, tunneltest.ResetAfter("hello", 4), func(t *testing.T, _ *testServer, conn net.Conn) {
			expectReset(t, conn, "hello")
		}, "target", true, 4, 5},
		{"idle", &Server{IdleTimeout: time.Second}, tunneltest.Greet("hello"), func(t *testing.T, _ *testServer, conn net.Conn) {
			expectLast(t, conn, "helloping")
		}, "idle", false, 4, 9},
		{"linger behind the target", &Server{Linger: time.Second}, tunneltest.Say("hello"), stay, "linger", false, 4, 5},
		{"linger behind the client", &Server{Linger: time.Second}, func(conn net.Conn) {
			io.WriteString(conn, "hello")
			io.Copy(io.Discard, conn)
			<-lingered
		}, func(t *testing.T, _ *testServer, conn net.Conn) {
			halfClose(t, conn)
			expectLast(t, conn, "hello")
			close(lingered)
		}, "linger", false, 4, 5},
		{"drain", &Server{}, tunneltest.Greet("hello"), func(t *testing.T, ts *testServer, conn net.Conn) {
			expect(t, conn, "helloping")
			if err := ts.server.Shutdown(cancelled()); !errors.Is(err, context.Canceled) {
				t.Errorf("Shutdown returned %v", err)
			}
			expectLast(t, conn, "")
		}, "drain", false, 4, 9},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ts := startServer(t, tt.server)
			target := tunneltest.Start(t, tt.target)
			conn := ts.open(target.Addr())
			send(t, conn, "ping")
			tt.client(t, ts, conn)
			closed := ts.record(eventClose)
			closed.want(t, "closed_by", tt.closedBy)
			closed.wantNumber(t, "up", tt.up)
			closed.wantNumber(t, "down", tt.down)
			closed.wantNumber(t, "status", 200)
			if tt.broken {
				closed.want(t, "error", "connection_terminated")
				closed.want(t, "level", "WARN")
			} else {
				closed.wantAbsent(t, "error")
				closed.want(t, "level", "INFO")
			}
			if n := ts.server.Open(); n != 0 {
				t.Errorf("%d slots are taken behind the record", n)
			}
		})
	}
}

// Counts are of payload, exact and in 64 bits, however much was relayed.
func TestRecordCountsPayloadExactly(t *testing.T) {
	const size = 5<<20 + 12345
	ts := startServer(t, &Server{})
	echo := tunneltest.Start(t, tunneltest.Echo)
	conn := ts.open(echo.Addr())
	sent := make(chan error, 1)
	go func() {
		_, err := conn.Write(bytes.Repeat([]byte("x"), size))
		conn.(halfCloser).CloseWrite()
		sent <- err
	}()
	n, err := io.Copy(io.Discard, conn)
	if err := errors.Join(err, receive(t, "the writer", sent)); err != nil || n != size {
		t.Fatalf("%d bytes came back, %v", n, err)
	}
	closed := ts.record(eventClose)
	closed.wantNumber(t, "up", size)
	closed.wantNumber(t, "down", size)
}

// Bugs other programs had: no log at close.
func TestRecordIDsJoinOpenAndClose(t *testing.T) {
	ts := startServer(t, &Server{})
	echo := tunneltest.Start(t, tunneltest.Echo)
	seen := map[string]bool{}
	for range 10 {
		conn := ts.open(echo.Addr())
		id := ts.record(eventOpen).text("id")
		if id == "" || seen[id] {
			t.Errorf("id %q comes twice", id)
		}
		seen[id] = true
		conn.Close()
		ts.record(eventClose).want(t, "id", id)
	}
}

// A client that is gone before its answer is logged, and as no tunnel.
func TestRecordOfAClientThatLeftWithinItsHead(t *testing.T) {
	ts := startServer(t, &Server{})
	conn := ts.dial()
	send(t, conn, "CONNECT example.test:443 HTTP/1.1\r\nHo")
	conn.Close()
	rec := ts.record(eventRequest)
	rec.want(t, "error", "http_request_error")
	rec.wantAbsent(t, "status")
}

func TestRecordAsText(t *testing.T) {
	var b bytes.Buffer
	rec := &Record{ID: "x-1", Client: "192.0.2.1:5", User: "al ice", Status: 403, Rule: "deny *.test", Error: ErrorDenied, Method: "CONNECT",
		Target: mustAuthority(t, "[2001:db8::1]:443"), Duration: 1500 * time.Microsecond}
	rec.log(slog.New(slog.NewTextHandler(&b, nil)), eventRequest)
	_, line, _ := strings.Cut(b.String(), " ")
	want := `level=WARN msg=request id=x-1 client=192.0.2.1:5 user="al ice" method=CONNECT target=[2001:db8::1]:443 status=403 ` +
		`rule="deny *.test" error=http_request_denied up=0 down=0 duration_ms=1.5` + "\n"
	if line != want {
		t.Errorf("line\n%swant\n%s", line, want)
	}
}

// Denials must be seen at the default level, and nothing is spent where a level
// is off.
func TestRecordLevels(t *testing.T) {
	var b bytes.Buffer
	quiet := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelWarn}))
	(&Record{}).log(quiet, eventClose)
	if b.Len() > 0 {
		t.Errorf("an orderly end is logged at %s", b.String())
	}
	(&Record{Error: ErrorDenied}).log(quiet, eventRequest)
	if !strings.Contains(b.String(), "level=WARN") {
		t.Errorf("a denial is logged as %q", b.String())
	}
	(&Record{}).log(nil, eventOpen) // no log is no panic
}
