package serve

import (
	"crypto/sha1"
	"encoding/base64"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/proxy"
)

// reloading is a Reloader over files that a test changes.
type reloading struct {
	testing.TB
	*Reloader
	dir string
}

// newReloading makes a Reloader with the flags. DIR in them is a folder that has the
// files.
func newReloading(t *testing.T, files map[string]string, words ...string) *reloading {
	t.Helper()
	r := &reloading{TB: t, dir: t.TempDir()}
	for name, text := range files {
		r.write(name, text)
	}
	for i, word := range words {
		words[i] = strings.ReplaceAll(word, "DIR", r.dir)
	}
	flags := parse(t, words...)
	server, err := NewServer(flags)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := ReadRules(flags, &server.Policy)
	if err != nil {
		t.Fatal(err)
	}
	j := openJournal(t, io.Discard, "text")
	logs, err := OpenLogs(flags, j)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(logs.Close)
	r.Reloader = &Reloader{Server: server, Logs: logs, Rules: rules, Journal: j}
	return r
}

func (r *reloading) path(name string) string { return filepath.Join(r.dir, name) }

func (r *reloading) write(name, text string) {
	r.Helper()
	if err := os.WriteFile(r.path(name), []byte(text), 0o600); err != nil {
		r.Fatal(err)
	}
}

// reload reloads and returns what was said, without the folder's name.
func (r *reloading) reload() string {
	r.Helper()
	said := &strings.Builder{}
	r.Journal = openJournal(r.TB.(*testing.T), said, "text")
	r.Reload()
	r.Journal.Close()
	return strings.ReplaceAll(said.String(), r.dir+string(filepath.Separator), "")
}

func (r *reloading) wantSaid(want string) {
	r.Helper()
	if got := r.reload(); got != want {
		r.Errorf("it said %q, want %q", got, want)
	}
}

func (r *reloading) wantAllowed(target string, want bool) {
	r.Helper()
	if got := r.Rules.Policy().JudgeTarget(testkit.MustAuthority(r.TB, target)).Allowed; got != want {
		r.Errorf("%s is allowed: %v", target, got)
	}
}

func TestReloadOfRules(t *testing.T) {
	r := newReloading(t, map[string]string{"a": "allow a.test\n", "b": "\xef\xbb\xbf# b\r\ndeny secret.a.test\r\nallow .b.test\r\n"},
		"--allow", "flag.test", "--deny", "never.test", "--rules", "DIR/a", "--rules", "DIR/b")
	if p := &r.Server.Policy; len(p.Allow) != 3 || len(p.Deny) != 2 {
		t.Errorf("the server has %d and %d rules", len(p.Allow), len(p.Deny))
	}
	r.wantSaid("reload: rules a read (1), rules b read (2)\n")
	r.write("a", "allow *\ndeny-addr private")
	r.wantSaid("reload: rules a read (2), rules b read (2)\n")
	r.wantAllowed("c.test:443", true)
	r.wantAllowed("never.test:443", false)
	r.wantAllowed("secret.a.test:443", false)

	// What cannot be used leaves the file's rules, and no other's.
	r.write("b", "deny other.test\nallow")
	r.write("a", "allow flag.test\n")
	r.wantSaid("reload: b:2: allow with 0 words behind it: want allow PATTERN, deny PATTERN, allow-addr WHERE or deny-addr WHERE: its rules before stay\n" +
		"reload: rules a read (1)\n")
	r.wantAllowed("c.test:443", false)
	r.wantAllowed("x.b.test:443", true)
	r.wantAllowed("other.test:443", false)
	r.write("b", "")
	r.wantSaid("reload: b: it is empty; a comment in it says that it is meant to have no rule: its rules before stay\nreload: rules a read (1)\n")
	r.write("b", "d\x00e\x00")
	if got := r.reload(); !strings.Contains(got, "UTF-16") {
		t.Errorf("it said %q", got)
	}
	if err := os.Remove(r.path("b")); err != nil {
		t.Fatal(err)
	}
	if got := r.reload(); !strings.Contains(got, ": its rules before stay\nreload: rules a read") {
		t.Errorf("it said %q", got)
	}
	r.wantAllowed("x.b.test:443", true)
	r.write("b", "# nobody\n")
	r.wantSaid("reload: rules a read (1), rules b read (0)\n")
	r.wantAllowed("x.b.test:443", false)
}

// A mistake in a file of rules names file and line, at the start.
func TestRulesMistake(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(path, []byte("allow a.test\r\ndeny a.test:x\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := parse(t, "--rules", path)
	_, err := ReadRules(flags, &new(proxy.Server).Policy)
	if err == nil || !strings.HasPrefix(err.Error(), "--rules: "+path+":2: deny: ") {
		t.Errorf("%v", err)
	}
}

// user returns a line of an htpasswd file.
func user(name, password string) string {
	sum := sha1.Sum([]byte(password))
	return name + ":{SHA}" + base64.StdEncoding.EncodeToString(sum[:]) + "\n"
}

func TestReloadOfUsers(t *testing.T) {
	r := newReloading(t, map[string]string{"users": user("ada", "one") + user("bob", "two")}, "--users", "DIR/users")
	want := func(name, password string, want bool) {
		t.Helper()
		if got := r.Server.Verifier.Verify(name, password); got != want {
			t.Errorf("%s with %s: %v", name, password, got)
		}
	}
	want("ada", "one", true)
	want("bob", "two", true)
	r.write("users", user("ada", "changed")+user("eve", "three"))
	r.wantSaid("reload: users users read (2)\n")
	want("ada", "one", false) // though it was verified and remembered
	want("ada", "changed", true)
	want("bob", "two", false)
	want("eve", "three", true)
	for _, damaged := range []string{"", "ada:{SH", user("ada", "four") + "eve"} {
		r.write("users", damaged)
		if got := r.reload(); !strings.HasPrefix(got, "reload: users") || !strings.HasSuffix(got, ": the users before stay\n") {
			t.Errorf("it said %q", got)
		}
		want("eve", "three", true)
		want("ada", "changed", true)
		want("ada", "four", false)
	}
}

// The log goes to the new file once the old one was moved away, and stays in the one that
// is open where there can be no new one.
func TestReloadOfTheLog(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a file that is open cannot be moved")
	}
	r := newReloading(t, nil, "--access-log", "DIR/access.log")
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	wantLines := func(path string, want int) {
		t.Helper()
		testkit.Eventually(t, "the lines are written", func() bool {
			text, err := os.ReadFile(path)
			return err == nil && strings.Count(string(text), "\n") == want
		})
	}
	r.Logs.Access.Info("one")
	move(r.path("access.log"), r.path("access.log.1"))
	r.Logs.Access.Info("two")
	wantLines(r.path("access.log.1"), 2)
	r.wantSaid("reload: log access.log opened again\n")
	r.Logs.Access.Info("three")
	wantLines(r.path("access.log"), 1)
	wantLines(r.path("access.log.1"), 2)

	moved := filepath.Join(t.TempDir(), "moved")
	move(r.dir, moved)
	if got := r.reload(); !strings.HasSuffix(got, "the log stays in the file that is open\n") {
		t.Errorf("it said %q", got)
	}
	r.Logs.Access.Info("four")
	wantLines(filepath.Join(moved, "access.log"), 2)
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	r.wantSaid("reload: log access.log opened again\n")
	r.Logs.Access.Info("five")
	wantLines(r.path("access.log"), 1)
}

func TestReloadOfNothing(t *testing.T) {
	r := newReloading(t, nil)
	r.wantSaid("reload: no flag names a file that could be read again\n")
}
