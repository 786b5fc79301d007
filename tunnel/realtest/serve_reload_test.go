//go:build unix

package realtest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// carries proves that a tunnel to an echo is still open.
func (s *served) carries(conn net.Conn) {
	s.Helper()
	fmt.Fprint(conn, "?")
	if n, err := conn.Read(make([]byte, 1)); n != 1 {
		s.Error("the tunnel ended: ", err)
	}
}

// waitLines waits until a file has n lines.
func waitLines(t *testing.T, path string, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s has %d lines", path, n), func() bool { return strings.Count(contents(path), "\n") == n })
}

// SIGHUP reads rules and users anew and opens the log again. The other signals that
// daemons are sent do no harm, and tunnels outlive all of it.
func TestServeReloads(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log, rules := filepath.Join(dir, "access.log"), filepath.Join(dir, "rules")
	write(t, rules, "allow *:*\ndeny *.test\n")
	s := serving(t, "--rules", rules, "--access-log", log)
	conn := s.tunnel()
	waitLines(t, log, 1)
	for i, number := range []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1} {
		moved := fmt.Sprint(log, ".", i)
		if err := os.Rename(log, moved); err != nil {
			t.Fatal(err)
		}
		s.refused() // still into the old file
		waitLines(t, moved, 2)
		s.signal(number)
		s.line("log " + log + " opened again")
		s.refused()
		waitLines(t, log, 1)
		waitLines(t, moved, 2)
	}
	s.signal(syscall.SIGUSR2)
	s.signal(syscall.SIGPIPE)
	s.signal(syscall.SIGWINCH)

	write(t, rules, "allow *:*\ndeny")
	s.signal(syscall.SIGHUP)
	s.line(rules + ":2: deny with 0 words behind it")
	s.refuses(1)
	s.carries(conn)
	write(t, rules, "deny *:*\n")
	s.signal(syscall.SIGHUP)
	s.line("rules " + rules + " read (1)")
	s.carries(conn) // though it could not be opened any more
	conn.Close()
	s.signal(syscall.SIGTERM)
	s.ends()
}

// However often it is told to reload, also while it drains, serve ends by the signals that
// end it, and the last state of the files counts.
func TestServeReloadsWithoutEnd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rules := write(t, filepath.Join(dir, "rules"), "allow *:*\n")
	s := serving(t, "--rules", rules, "--access-log", filepath.Join(dir, "access.log"), "--drain-timeout", "0")
	conn := s.tunnel()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				if s.cmd.Process.Signal(syscall.SIGHUP) != nil {
					return
				}
				time.Sleep(time.Millisecond) // the test needs the processor too
			}
		}
	}()
	for range 100 {
		s.line("rules")
	}
	write(t, rules, "allow *:*\ndeny *.test\ndeny *.example\n")
	s.line("read (3)")
	s.refuses(1)
	s.carries(conn)
	s.signal(syscall.SIGTERM)
	s.line("draining")
	s.line("read (3)") // while it drains
	s.carries(conn)
	s.signal(syscall.SIGTERM)
	s.ends()
	close(stop)
	<-stopped
}

// Under nohup, and without stdin, stdout and stderr, serve is what it is.
func TestServeUnderNohup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := filepath.Join(dir, "access.log")
	for name, script := range map[string]string{
		"nohup":            `trap '' HUP; exec "$@" 2>stderr`,
		"closed":           `exec "$@" <&- >&- 2>&-`,
		"closed but stdin": `exec "$@" >&- 2>&-`,
	} {
		t.Run(name, func(t *testing.T) {
			address := "127.0.0.1:" + freePort(t)
			cmd := exec.CommandContext(t.Context(), needs(t, "sh")[0], "-c", script, "sh", culvert(t), "serve", "--listen", address, "--allow", "*:*", "--access-log", log)
			cmd.Dir = dir
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			timer := time.AfterFunc(bound, func() { cmd.Process.Kill() })
			defer timer.Stop()
			accepts(t, address)
			s := &served{TB: t, cmd: cmd, addr: address}
			conn := s.tunnel()
			waitLines(t, log, 1)
			if err := os.Rename(log, log+".old"); err != nil {
				t.Fatal(err)
			}
			s.signal(syscall.SIGHUP)
			eventually(t, "the log is opened again", func() bool { _, err := os.Stat(log); return err == nil })
			s.carries(conn)
			conn.Close()
			s.signal(syscall.SIGTERM)
			s.endsUnread()
			if err := os.Remove(log); err != nil {
				t.Error(err)
			}
		})
	}
}
