package proxy

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

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"
)

// cancelled returns a cancelled context, with which Shutdown does not wait.
func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// For every way in which a tunnel ends, the record has closed_by and exact
// counts.
func TestRecordOfEachEnding(t *testing.T) {
	lingered := make(chan struct{})
	stay := func(t *testing.T, _ *testServer, conn net.Conn) { testkit.Expect(t, conn, "hello") }
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
			testkit.HalfClose(t, conn)
			testkit.ExpectLast(t, conn, "4 bytes\n")
		}, "client", false, 4, 8},
		{"target first", &Server{}, tunneltest.Say("hello"), func(t *testing.T, _ *testServer, conn net.Conn) {
			testkit.ExpectLast(t, conn, "hello")
			conn.Close()
		}, "target", false, 4, 5},
		{"client reset", &Server{}, tunneltest.Greet("hello"), func(t *testing.T, _ *testServer, conn net.Conn) {
			testkit.Expect(t, conn, "helloping")
			testkit.Reset(conn)
		}, "client", true, 4, 9},
		{"target reset", &Server{}, tunneltest.ResetAfter("hello", 4), func(t *testing.T, _ *testServer, conn net.Conn) {
			testkit.ExpectReset(t, conn, "hello")
		}, "target", true, 4, 5},
		{"idle", &Server{IdleTimeout: time.Second}, tunneltest.Greet("hello"), func(t *testing.T, _ *testServer, conn net.Conn) {
			testkit.ExpectLast(t, conn, "helloping")
		}, "idle", false, 4, 9},
		{"linger behind the target", &Server{Linger: time.Second}, tunneltest.Say("hello"), stay, "linger", false, 4, 5},
		{"linger behind the client", &Server{Linger: time.Second}, func(conn net.Conn) {
			io.WriteString(conn, "hello")
			io.Copy(io.Discard, conn)
			<-lingered
		}, func(t *testing.T, _ *testServer, conn net.Conn) {
			testkit.HalfClose(t, conn)
			testkit.ExpectLast(t, conn, "hello")
			close(lingered)
		}, "linger", false, 4, 5},
		{"drain", &Server{}, tunneltest.Greet("hello"), func(t *testing.T, ts *testServer, conn net.Conn) {
			testkit.Expect(t, conn, "helloping")
			if err := ts.server.Shutdown(cancelled()); !errors.Is(err, context.Canceled) {
				t.Errorf("Shutdown returned %v", err)
			}
			testkit.ExpectLast(t, conn, "")
		}, "drain", false, 4, 9},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ts := startServer(t, tt.server)
			target := tunneltest.Start(t, tt.target)
			conn := ts.Open(target.Addr())
			testkit.Send(t, conn, "ping")
			tt.client(t, ts, conn)
			closed := ts.NextRecord(accesslog.EventClose)
			closed.Want(t, "closed_by", tt.closedBy)
			closed.WantNumber(t, "up", tt.up)
			closed.WantNumber(t, "down", tt.down)
			closed.WantNumber(t, "status", 200)
			if tt.broken {
				closed.Want(t, "error", "connection_terminated")
				closed.Want(t, "level", "WARN")
			} else {
				closed.WantAbsent(t, "error")
				closed.Want(t, "level", "INFO")
			}
			if n := ts.server.Open(); n != 0 {
				t.Errorf("%d slots are taken behind the record", n)
			}
		})
	}
}

// Counts are of payload bytes, and exact beyond 32 bits.
func TestRecordCountsPayloadExactly(t *testing.T) {
	const size = 5<<20 + 12345
	ts := startServer(t, &Server{})
	echo := tunneltest.Start(t, tunneltest.Echo)
	conn := ts.Open(echo.Addr())
	sent := make(chan error, 1)
	go func() {
		_, err := conn.Write(bytes.Repeat([]byte("x"), size))
		conn.(sock.HalfCloser).CloseWrite()
		sent <- err
	}()
	n, err := io.Copy(io.Discard, conn)
	if err := errors.Join(err, testkit.Receive(t, "the writer", sent)); err != nil || n != size {
		t.Fatalf("%d bytes came back, %v", n, err)
	}
	closed := ts.NextRecord(accesslog.EventClose)
	closed.WantNumber(t, "up", size)
	closed.WantNumber(t, "down", size)
}

// Bugs other programs had: no log at close.
func TestRecordIDsJoinOpenAndClose(t *testing.T) {
	ts := startServer(t, &Server{})
	echo := tunneltest.Start(t, tunneltest.Echo)
	seen := map[string]bool{}
	for range 10 {
		conn := ts.Open(echo.Addr())
		id := ts.NextRecord(accesslog.EventOpen).Text("id")
		if id == "" || seen[id] {
			t.Errorf("id %q comes twice", id)
		}
		seen[id] = true
		conn.Close()
		ts.NextRecord(accesslog.EventClose).Want(t, "id", id)
	}
}

// A client that leaves before its answer is logged, and not as a tunnel.
func TestRecordOfAClientThatLeftWithinItsHead(t *testing.T) {
	ts := startServer(t, &Server{})
	conn := ts.Dial()
	testkit.Send(t, conn, "CONNECT example.test:443 HTTP/1.1\r\nHo")
	conn.Close()
	rec := ts.NextRecord(accesslog.EventRequest)
	rec.Want(t, "error", "http_request_error")
	rec.WantAbsent(t, "status")
}

func TestRecordAsText(t *testing.T) {
	var b bytes.Buffer
	rec := &accesslog.Record{ID: "x-1", Client: "192.0.2.1:5", User: "al ice", Status: 403, Rule: "deny *.test", Error: tunnel.ErrorDenied, Method: "CONNECT",
		Target: testkit.MustAuthority(t, "[2001:db8::1]:443"), Duration: 1500 * time.Microsecond}
	rec.Log(slog.New(slog.NewTextHandler(&b, nil)), accesslog.EventRequest)
	_, line, _ := strings.Cut(b.String(), " ")
	want := `level=WARN msg=request id=x-1 client=192.0.2.1:5 user="al ice" method=CONNECT target=[2001:db8::1]:443 status=403 ` +
		`rule="deny *.test" error=http_request_denied up=0 down=0 duration_ms=1.5` + "\n"
	if line != want {
		t.Errorf("line\n%swant\n%s", line, want)
	}
}

// Denials are logged at the default level, and a level that is off costs nothing.
func TestRecordLevels(t *testing.T) {
	var b bytes.Buffer
	quiet := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelWarn}))
	(&accesslog.Record{}).Log(quiet, accesslog.EventClose)
	if b.Len() > 0 {
		t.Errorf("an orderly end is logged at %s", b.String())
	}
	(&accesslog.Record{Error: tunnel.ErrorDenied}).Log(quiet, accesslog.EventRequest)
	if !strings.Contains(b.String(), "level=WARN") {
		t.Errorf("a denial is logged as %q", b.String())
	}
	(&accesslog.Record{}).Log(nil, accesslog.EventOpen) // must not panic
}
