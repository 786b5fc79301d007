//go:build unix

package realtest

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// postgres is the address of a PostgreSQL that trusts everyone.
var postgres = shared(startPostgres, "psql")

func startPostgres(t testing.TB) string {
	t.Helper()
	programs, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(programs) == 0 {
		needs(t, "postgres")
	}
	programs = append(programs, "postgres")
	dir, port := t.TempDir(), freePort(t)
	data := filepath.Join(dir, "data")
	// It does not run as root: its own user must reach the files.
	var as []string
	if os.Geteuid() == 0 {
		as = []string{needs(t, "setpriv")[0], "--reuid", "postgres", "--regid", "postgres", "--clear-groups"}
		for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
			os.Chmod(d, 0o777)
		}
	}
	initdb := append(as, filepath.Join(filepath.Dir(programs[0]), "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	cmd := exec.CommandContext(t.Context(), initdb[0], initdb[1:]...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	postgres := append(as, programs[0], "-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off")
	log := background(t, postgres[0], postgres[1:]...)
	eventually(t, "postgres is ready", func() bool { return strings.Contains(log.String(), "ready to accept connections") })
	return "127.0.0.1:" + port
}

// psql is a psql at an address.
func psql(t *testing.T, address string, arg ...string) *exec.Cmd {
	t.Helper()
	host, port, _ := net.SplitHostPort(address)
	cmd := exec.CommandContext(t.Context(), needs(t, "psql")[0], append([]string{"-XAtq", "-h", host, "-p", port, "-U", "postgres", "-d", "postgres", "-v", "ON_ERROR_STOP=1"}, arg...)...)
	cmd.Env = append(cleanEnviron(), "PGCONNECT_TIMEOUT=15")
	return cmd
}

// A database speaks much, little and not at all through the local port.
func TestRealPsqlThroughListen(t *testing.T) {
	t.Parallel()
	server := postgres(t)
	eachProxy(t, func(t *testing.T, proxy string) {
		address, log := listening(t, "--proxy", "http://"+proxy, "--listen", "127.0.0.1:0", "--", server)
		for query, want := range map[string]string{
			"select 6 * 7, 'through'":       "42|through\n",
			"select repeat('x', 1048576)":   strings.Repeat("x", 1<<20) + "\n",
			"select sum(n) from big_upload": "", // no such table: its error is the server's
		} {
			var stderr strings.Builder
			cmd := psql(t, address, "-c", query)
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if string(out) != want || (err == nil) != (want != "") || (want == "") != strings.Contains(stderr.String(), `relation "big_upload" does not exist`) {
				t.Errorf("%s: %d bytes, %v: %s", query, len(out), err, stderr.String())
			}
		}
		// Up as well: more than any buffer on the way.
		upload := psql(t, address, "-c", "create temp table up (line text)", "-c", `copy up from stdin`, "-c", "select count(*), sum(length(line)) from up")
		upload.Stdin = strings.NewReader(strings.Repeat(strings.Repeat("y", 1023)+"\n", 4096))
		if out, err := upload.Output(); err != nil || string(out) != "4096|4190208\n" {
			t.Errorf("copy: %q, %v", out, err)
		}
		eventually(t, "four tunnels to end", func() bool { return strings.Count(log.String(), `msg="tunnel close"`) == 4 })
	})
}

// interactive is a psql whose standard input is open.
type interactive struct {
	*exec.Cmd
	stdin io.WriteCloser
	out   lockedBuffer
}

func openPsql(t *testing.T, address string) *interactive {
	t.Helper()
	p := &interactive{Cmd: psql(t, address)}
	p.Stdout, p.Stderr = &p.out, &p.out
	var err error
	if p.stdin, err = p.StdinPipe(); err == nil {
		err = p.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.ProcessState == nil {
			p.Process.Kill()
			p.Wait()
		}
	})
	return p
}

// says types a line; the answer is what psql has printed by now.
func (p *interactive) says(t *testing.T, line, answer string) {
	t.Helper()
	fmt.Fprintln(p.stdin, line)
	eventually(t, line, func() bool { return strings.HasSuffix(p.out.String(), answer) })
}

// SIGTERM while one psql waits at its prompt and another for the server: both
// end as they would have, and nobody new comes in.
func TestRealPsqlIsDrained(t *testing.T) {
	t.Parallel()
	server := postgres(t)
	eachProxy(t, func(t *testing.T, proxy string) {
		dial := exec.CommandContext(t.Context(), culvert(t), "dial", "--proxy", "http://"+proxy, "-L", "0", "--", server)
		var log lockedBuffer
		dial.Stderr = &log
		if err := dial.Start(); err != nil {
			t.Fatal(err)
		}
		defer dial.Process.Kill()
		address := announced(t, &log, "listening on ")

		holder, waiter := openPsql(t, address), openPsql(t, address)
		holder.says(t, "select pg_advisory_lock(7), 'held';", "|held\n")
		waiter.says(t, "select 'here';", "here\n")
		fmt.Fprintln(waiter.stdin, "select pg_advisory_lock(7), 'got it';")
		waiting := "select 'waiting' from pg_locks where locktype = 'advisory' and not granted;"
		eventually(t, "the second psql to wait", func() bool {
			out, _ := psql(t, server, "-c", waiting).Output()
			return string(out) == "waiting\n"
		})
		dial.Process.Signal(syscall.SIGTERM)
		eventually(t, "dial to drain", func() bool { return strings.Contains(log.String(), "of which 2 are open") })
		if out, err := psql(t, address, "-c", "select 1").CombinedOutput(); err == nil || !strings.Contains(string(out), "refused") {
			t.Errorf("a new psql: %q, %v", out, err)
		}
		holder.says(t, "select 'still', 'here';", "still|here\n")
		holder.says(t, "select pg_advisory_unlock(7);", "t\n")
		eventually(t, "the waiting psql's turn", func() bool { return strings.HasSuffix(waiter.out.String(), "|got it\n") })
		for _, p := range []*interactive{holder, waiter} {
			p.stdin.Close()
			if err := p.Wait(); err != nil {
				t.Errorf("psql: %v: %s", err, p.out.String())
			}
		}
		if err := dial.Wait(); err != nil || strings.Count(log.String(), "tunnel close") != 2 {
			t.Errorf("dial: %v: %s", err, log.String())
		}
	})
}
