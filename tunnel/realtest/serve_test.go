//go:build unix

package realtest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/tunnel/tunneltest"
)

// served is a running culvert serve on a free port of 127.0.0.1.
type served struct {
	testing.TB
	cmd    *exec.Cmd
	addr   string
	pipe   io.Closer // stderr's other end
	stderr *bufio.Reader
}

// serving starts it and waits until it listens. It is killed if it does not
// end in time.
func serving(t *testing.T, words ...string) *served {
	t.Helper()
	s := startServing(t, exec.CommandContext(t.Context(), culvert(t), append([]string{"serve", "--listen", "127.0.0.1:0"}, words...)...))
	_, s.addr, _ = strings.Cut(s.line("listening on"), "http://")
	s.addr, _, _ = strings.Cut(s.addr, `"`) // of a line in JSON
	return s
}

// startServing starts a command that runs serve. It is killed if it does not end in time.
func startServing(t *testing.T, cmd *exec.Cmd) *served {
	t.Helper()
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(bound, func() { cmd.Process.Kill() })
	t.Cleanup(func() { timer.Stop() })
	return &served{TB: t, cmd: cmd, pipe: pipe, stderr: bufio.NewReader(pipe)}
}

// line reads stderr up to the first line that holds words.
func (s *served) line(words string) string {
	s.Helper()
	for {
		line, err := s.stderr.ReadString('\n')
		if strings.Contains(line, words) {
			return strings.TrimSpace(line)
		}
		if err != nil {
			s.Fatalf("no line with %q: %v", words, err)
		}
	}
}

// tunnel opens one to an echo and proves that it is open.
func (s *served) tunnel() net.Conn {
	s.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(bound))
	target := tunneltest.Start(s.TB, tunneltest.Echo).Addr()
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n!", target, target)
	reply, err := io.ReadAll(io.LimitReader(conn, int64(len("HTTP/1.1 200 Connection established\r\n\r\n!"))))
	if !strings.HasSuffix(string(reply), "\r\n\r\n!") {
		s.Fatalf("the tunnel brought %q, %v", reply, err)
	}
	return conn
}

// refused makes a request that the proxy refuses, and logs.
func (s *served) refused() {
	s.Helper()
	client := &http.Client{Timeout: bound}
	reply, err := client.Get("http://" + s.addr + "/")
	if err != nil {
		s.Fatal(err)
	}
	reply.Body.Close()
	if reply.StatusCode != http.StatusBadRequest {
		s.Errorf("status %d", reply.StatusCode)
	}
}

func (s *served) signal(number syscall.Signal) {
	s.Helper()
	if err := s.cmd.Process.Signal(number); err != nil {
		s.Fatal(err)
	}
}

// ends waits for the end, which must be code 0, and returns the rest of stderr.
func (s *served) ends() string {
	s.Helper()
	rest, _ := io.ReadAll(s.stderr)
	if err := s.cmd.Wait(); err != nil {
		s.Errorf("%v; stderr %q", err, rest)
	}
	return string(rest)
}

// A signal drains: open tunnels go on until they end, and serve with them.
func TestServeDrains(t *testing.T) {
	t.Parallel()
	s := serving(t, "--allow", "*:*", "--drain-timeout", "15s")
	conn := s.tunnel()
	s.signal(syscall.SIGTERM)
	if got, want := s.line("draining"), "culvert serve: draining: waiting at most 15s for tunnels to end, of which 1 are open; a second signal ends them at once"; got != want {
		t.Errorf("%q\nwant %q", got, want)
	}
	conn.Close()
	if rest := s.ends(); !strings.Contains(rest, "closed_by=client") {
		t.Errorf("the log says %q", rest)
	}
}

func TestServeSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	s := serving(t, "--allow", "*:*", "--drain-timeout", "0")
	s.tunnel()
	s.signal(syscall.SIGINT)
	s.line("waiting without limit")
	s.signal(syscall.SIGINT)
	if rest := s.ends(); !strings.Contains(rest, "closed_by=drain") {
		t.Errorf("the log says %q", rest)
	}
}

// Where it listens, then four lines on who may go where.
func TestServeTellsWhoMayGoWhere(t *testing.T) {
	t.Parallel()
	s := serving(t, "--deny", "*.evil.example", "--via", "http://me:secret@127.0.0.1:1")
	for _, want := range []string{
		"clients: anyone on this machine",
		"targets: any host on ports 22, 80, 443; never *.evil.example",
		"addresses: public, private, loopback; addresses behind http://127.0.0.1:1 are the parent's to judge",
		"route: http://127.0.0.1:1",
	} {
		if got := s.line(""); got != "culvert serve: "+want {
			t.Errorf("%q\nwant %q", got, want)
		}
	}
	s.signal(syscall.SIGTERM)
	s.ends()
}

// Whoever reads the log may go away; tunnels do not end for that.
func TestServeOutlivesTheReaderOfItsLog(t *testing.T) {
	t.Parallel()
	s := serving(t, "--allow", "*:*")
	conn := s.tunnel()
	s.line("tunnel open")
	s.pipe.Close()
	s.refused()
	s.refused()
	fmt.Fprint(conn, "?")
	if n, err := conn.Read(make([]byte, 1)); n != 1 {
		t.Error("the tunnel ended: ", err)
	}
	conn.Close()
	s.signal(syscall.SIGTERM)
	s.ends()
}

func TestServeLogsToAFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "access.log")
	s := serving(t, "--access-log", path, "--log-format", "json")
	s.refused()
	s.signal(syscall.SIGTERM)
	s.ends()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var record map[string]any
	if err := json.Unmarshal(text, &record); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	if record["msg"] != "request" || record["status"] != 400.0 || record["error"] != "http_request_error" {
		t.Errorf("the record is %s", text)
	}
}

func TestServeGoesOnWhenTheDiskIsFull(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("there is no /dev/full")
	}
	s := serving(t, "--access-log", "/dev/full")
	s.refused()
	s.line("cannot write the access log, lines are lost from here on: ")
	s.refused()
	s.signal(syscall.SIGTERM)
	if rest := s.ends(); strings.Contains(rest, "cannot write") {
		t.Errorf("it was told again: %q", rest)
	}
}

// A descriptor limit under which hardly anybody can be served is said at the start.
func TestServeTellsALowDescriptorLimit(t *testing.T) {
	t.Parallel()
	s := startServing(t, exec.CommandContext(t.Context(), needs(t, "sh")[0], "-c", `ulimit -n 20 && exec "$@"`, "sh", culvert(t), "serve", "--listen", "127.0.0.1:0"))
	s.line("this process may open 20 descriptors only, of which a tunnel takes two: raise the limit with ulimit -n")
	s.signal(syscall.SIGTERM)
	s.ends()
}
