//go:build unix

package realtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/tunnel/tunneltest"
)

// refuses makes requests that the proxy refuses and logs.
func (s *served) refuses(n int) {
	s.Helper()
	for range n {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			s.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(bound))
		fmt.Fprintf(conn, "CONNECT %s.test:22 HTTP/1.1\r\nHost: x\r\n\r\n", strings.Repeat("x", 60))
		if reply, err := bufio.NewReader(conn).ReadString('\n'); !strings.HasPrefix(reply, "HTTP/1.1 403") {
			s.Fatalf("%q, %v", reply, err)
		}
		conn.Close()
	}
}

// stalls makes requests until the pipe of stderr, which nobody reads, must be full.
func (s *served) stalls() {
	s.Helper()
	s.line("route:")
	s.refuses(1000)
}

// endsUnread waits for the end, which must be code 0, without reading stderr.
func (s *served) endsUnread() {
	s.Helper()
	if err := s.cmd.Wait(); err != nil {
		s.Error(err)
	}
}

// A reader of the log that stalls, a pager or a terminal with Ctrl-S, stops no tunnel
// and no signal.
func TestServeGoesOnWhenNobodyReadsItsLog(t *testing.T) {
	t.Parallel()
	s := serving(t, "--allow", "*:*", "--deny", "*.test")
	s.stalls()
	conn := s.tunnel()
	s.signal(syscall.SIGTERM) // drains
	fmt.Fprint(conn, "?")
	if n, err := conn.Read(make([]byte, 1)); n != 1 {
		t.Error("the tunnel ended: ", err)
	}
	conn.Close()
	s.endsUnread()
}

// The second signal ends serve at once, whatever the log and the peers do.
func TestServeSecondSignalEndsWithAStalledLog(t *testing.T) {
	t.Parallel()
	s := serving(t, "--allow", "*:*", "--deny", "*.test", "--drain-timeout", "0")
	s.stalls()
	conn := s.tunnel()
	s.signal(syscall.SIGTERM)
	for { // until it drains
		probe, err := net.Dial("tcp", s.addr)
		if err != nil {
			break
		}
		probe.Close()
	}
	s.signal(syscall.SIGTERM)
	s.endsUnread()
	conn.Close()
}

// The access log may be a FIFO: serve does not wait for its reader, neither at the start
// nor later, and the reader gets the lines.
func TestServeLogsToAFIFO(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	s := serving(t, "--access-log", path, "--log-format", "json", "--deny", "*.test")
	s.refuses(3)
	fifo, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer fifo.Close()
	r := bufio.NewReader(fifo)
	for range 3 {
		line, err := r.ReadBytes('\n')
		if err != nil || !json.Valid(line) {
			t.Fatalf("%q, %v", line, err)
		}
	}
	s.refuses(1000) // fills it
	s.signal(syscall.SIGTERM)
	if rest := s.ends(); !strings.Contains(rest, "is not complete") {
		t.Errorf("stderr has %q", rest)
	}
}

// With --log-format json every line of stderr is JSON: what is said at the start and
// while it drains, and the log.
func TestServeSpeaksJSON(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), culvert(t), "serve", "--listen", "https://127.0.0.1:0", "--tls-self-signed", "--listen", "127.0.0.1:0",
		"--allow", "*:*", "--log-format", "json")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(bound, func() { cmd.Process.Kill() })
	defer timer.Stop()
	var lines []string
	next := func() (message string) {
		r := bytes.Buffer{}
		for one := make([]byte, 1); ; r.Write(one) {
			if _, err := stderr.Read(one); err != nil || one[0] == '\n' {
				break
			}
		}
		lines = append(lines, r.String())
		var record struct{ Msg string }
		if err := json.Unmarshal(r.Bytes(), &record); err != nil && r.Len() > 0 {
			t.Errorf("%q: %v", r.String(), err)
		}
		return record.Msg
	}
	until := func(words string) string {
		for {
			switch message := next(); {
			case strings.Contains(message, words):
				return message
			case message == "":
				t.Fatalf("no line with %q: %q", words, lines)
			}
		}
	}
	_, addr, _ := strings.Cut(until("listening on http://"), "http://")
	s := &served{TB: t, cmd: cmd, addr: addr}
	conn := s.tunnel()
	until("tunnel open")
	s.signal(syscall.SIGTERM)
	until("draining")
	conn.Close()
	until("tunnel close")
	if message := next(); message != "" {
		t.Errorf("then it said %q", message)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// Why serve does not start is JSON too.
func TestServeFailsInJSON(t *testing.T) {
	t.Parallel()
	for _, words := range [][]string{
		{"--nonsense"}, {"argument"}, {"--allow", "["}, {"--listen", "0.0.0.0:0"}, {"--access-log", "/nonexistent/log"}, {"--users", "/nonexistent/users"},
	} {
		var stderr bytes.Buffer
		cmd := exec.CommandContext(t.Context(), culvert(t), append([]string{"serve", "--log-format", "json"}, words...)...)
		cmd.Stderr = &stderr
		err := cmd.Run()
		var record struct{ Level, Msg string }
		if jsonErr := json.Unmarshal(stderr.Bytes(), &record); jsonErr != nil || err == nil || record.Level != "ERROR" || record.Msg == "" {
			t.Errorf("%q: %q, %v, %v", words, stderr.String(), err, jsonErr)
		}
	}
}

// dial --listen goes on, and ends, when nobody reads its log.
func TestDialListenGoesOnWhenNobodyReadsItsLog(t *testing.T) {
	t.Parallel()
	target := tunneltest.Start(t, tunneltest.Echo).Addr()
	s := startServing(t, exec.CommandContext(t.Context(), culvert(t), "dial", "-x", "direct", "--listen", "127.0.0.1:0", "--", target))
	_, s.addr, _ = strings.Cut(s.line("listening on"), "listening on ")
	s.addr, _, _ = strings.Cut(s.addr, " ")
	for range 500 { // two lines of 150 bytes each
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(bound))
		fmt.Fprint(conn, "?")
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	s.signal(syscall.SIGTERM)
	s.endsUnread()
}
