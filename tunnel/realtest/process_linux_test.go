package realtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// This file looks at a running culvert serve from outside: its descriptors, its
// memory, its log.

// proxyProcess is culvert serve as a process of its own.
type proxyProcess struct {
	testing.TB
	cmd  *exec.Cmd
	pid  int
	addr string
	log  string // the access log's path
	errs *lockedBuffer
	over bool
}

// startProxy starts culvert serve, every target allowed. before names another
// program than TestMain's, with words that come before serve's.
func startProxy(t testing.TB, before []string, words ...string) *proxyProcess {
	t.Helper()
	if len(before) == 0 {
		before = []string{culvert(t)}
		if os.Geteuid() != 0 { // who could not look into a process in its sandbox
			words = append(words, "--no-sandbox")
		}
	}
	p := &proxyProcess{TB: t, log: filepath.Join(t.TempDir(), "access.log"), errs: &lockedBuffer{}}
	words = append([]string{"serve", "--listen", "127.0.0.1:0", "--allow", "*:*", "--access-log", p.log, "--log-format", "json"}, words...)
	p.cmd = exec.Command(before[0], append(before[1:], words...)...)
	p.cmd.Env = cleanEnviron()
	p.cmd.Stderr = p.errs
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.pid = p.cmd.Process.Pid
	t.Cleanup(func() {
		if !p.over {
			p.cmd.Process.Kill()
			p.cmd.Wait()
		}
		if t.Failed() {
			t.Logf("serve said:\n%s", p.errs)
		}
	})
	p.addr = announced(t, p.errs, "listening on http://")
	return p
}

// end ends serve by SIGTERM, which must find nothing to wait for.
func (p *proxyProcess) end() {
	p.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.Fatal(err)
	}
	timer := time.AfterFunc(3*bound, func() { p.cmd.Process.Kill() })
	defer timer.Stop()
	p.over = true
	if err := p.cmd.Wait(); err != nil { // the race detector's findings, too
		p.Errorf("serve ended with %v", err)
	}
}

// goroutines ends serve by SIGQUIT, at which Go prints every goroutine, and
// counts them.
func (p *proxyProcess) goroutines() int {
	p.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		p.Fatal(err)
	}
	p.over = true
	if p.cmd.Wait() == nil {
		p.Fatal("serve took SIGQUIT for an orderly end")
	}
	text := p.errs.String()
	_, text, _ = strings.Cut(text, "SIGQUIT")
	return strings.Count(text, "\ngoroutine ") - strings.Count(text, "\ngoroutine 0 ")
}

// descriptors are the numbers that serve has open, in order.
func (p *proxyProcess) descriptors() []int {
	p.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.pid))
	if err != nil {
		p.Fatal(err)
	}
	numbers := make([]int, len(entries))
	for i, e := range entries {
		numbers[i], _ = strconv.Atoi(e.Name())
	}
	slices.Sort(numbers)
	return numbers
}

// open counts the descriptors whose link begins with kind, as "pipe:" or
// "anon_inode:[eventpoll]"; those of serve's own log and output are among them.
func (p *proxyProcess) open(kind string) int {
	n := 0
	for _, fd := range p.descriptors() {
		if link, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", p.pid, fd)); strings.HasPrefix(link, kind) {
			n++
		}
	}
	return n
}

// returnsTo waits until serve has n descriptors, pipes that it keeps for the
// next tunnel not counted.
func (p *proxyProcess) returnsTo(n int) {
	p.Helper()
	have := 0
	defer func() {
		if have != n {
			p.Logf("serve has %d descriptors, %d at first", have, n)
		}
	}()
	eventually(p, "serve has as many descriptors as at first", func() bool {
		have = p.held()
		return have == n
	})
}

// held is the number of descriptors that are no pipe.
func (p *proxyProcess) held() int { return len(p.descriptors()) - p.open("pipe:") }

// leave lets serve open only n descriptors more, however many it has; negative
// takes the limit away again.
func (p *proxyProcess) leave(n int) {
	p.Helper()
	var limit unix.Rlimit
	if err := unix.Prlimit(p.pid, unix.RLIMIT_NOFILE, nil, &limit); err != nil {
		p.Fatal(err)
	}
	next := unix.Rlimit{Cur: limit.Max, Max: limit.Max}
	if n >= 0 {
		// The limit is on numbers: those that are free below it are left.
		next.Cur = 0
		taken := p.descriptors()
		for free := 0; free < n || slices.Contains(taken, int(next.Cur)); next.Cur++ {
			if !slices.Contains(taken, int(next.Cur)) {
				free++
			}
		}
	}
	if err := unix.Prlimit(p.pid, unix.RLIMIT_NOFILE, &next, nil); err != nil {
		p.Fatal(err)
	}
}

// memory is what serve has of its own, in bytes: neither its program nor the
// kernel's part of its sockets.
func (p *proxyProcess) memory() int {
	p.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
	if err != nil {
		p.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "RssAnon:")
	fields := strings.Fields(rest)
	if len(fields) < 2 {
		p.Fatalf("no RssAnon in %q", text)
	}
	kib, _ := strconv.Atoi(fields[0])
	return kib << 10
}

// logRecord is what these tests read of a line of the access log.
type logRecord struct {
	Msg, Client, Target, Error, Detail string
	Method                             string
	Status                             int
	Up, Down                           int64
	ClosedBy                           string `json:"closed_by"`
}

// records are the access log's lines of one event so far.
func (p *proxyProcess) records(event string) []logRecord {
	p.Helper()
	text, err := os.ReadFile(p.log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		p.Fatal(err)
	}
	var records []logRecord
	for line := range bytes.Lines(text) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // it is being written
		}
		var r logRecord
		if err := json.Unmarshal(line, &r); err != nil {
			p.Fatalf("the log has %q: %v", line, err)
		}
		if r.Msg == event {
			records = append(records, r)
		}
	}
	return records
}

// closedTo waits for the close record of the only tunnel to target.
func (p *proxyProcess) closedTo(target string) logRecord {
	p.Helper()
	var found logRecord
	eventually(p, "a record of the tunnel to "+target, func() bool {
		for _, r := range p.records("tunnel close") {
			if r.Target == target {
				found = r
				return true
			}
		}
		return false
	})
	return found
}
