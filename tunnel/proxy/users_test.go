package proxy

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"culvert/tunnel/internal/testkit"
)

// hashes has hashes of "correct horse", of every kind that is accepted.
var hashes = map[string]string{
	"bcrypt":              "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
	"bcrypt of htpasswd":  "$2y$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
	"SHA-256 crypt":       "$5$saltsalt$myjXcpMpE2Ofk7fj9hqyNYSn6lmWG4Mqnjx.KIRRr4/",
	"SHA-512 crypt":       "$6$saltsalt$hRM5XZ86KXEw9UOmjigeVqFgULtFB2sgpC9lXQDfMib3Zgw7mEiUvBJI2EplzfAqxL5Vvwp2scFtv/uamSo5z0",
	"SHA-512, its rounds": "$6$rounds=1000$saltsalt$4GMtaIz3E1AdDi2SmCokEW0ehi.HdxNDcL3fGE1XXuzvo6kbx7UOloZKONqEk5H3JrQA4NOfU8BmqFPrpGqwA1",
	"Apache's MD5":        "$apr1$saltsalt$EGVZDNN6gOqijy.tv9axG/",
	"MD5 crypt":           "$1$saltsalt$NuzA7WTAelpl95xgBGWN60",
	"SHA":                 "{SHA}L55TUjtiq8FBorTWAZ0jy6g129A=",
	"SSHA":                "{SSHA}LhKrkM9Fy+zlstjdD7Kv2s6QvhBzYWx0",
}

func usersFile(tb testing.TB, text string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "users.htpasswd")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

func mustUsers(tb testing.TB, text string) *Users {
	tb.Helper()
	u, err := LoadUsers(usersFile(tb, text))
	if err != nil {
		tb.Fatal(err)
	}
	return u
}

func TestUsersHashKinds(t *testing.T) {
	for kind, hash := range hashes {
		t.Run(kind, func(t *testing.T) {
			u := mustUsers(t, "\xef\xbb\xbfalice:"+hash+"\r\n\r\n# a comment\r\n")
			for _, tt := range []struct {
				user, password string
				want           bool
			}{
				{"alice", "correct horse", true},
				{"alice", "correct horse", true}, // from the cache
				{"alice", "correct horsf", false},
				{"alice", "correct horse ", false},
				{"alice", "", false},
				{"alice", hash, false},
				{"Alice", "correct horse", false},
				{"bob", "correct horse", false},
				{"", "correct horse", false},
				{"alicecorrect", " horse", false},
			} {
				if got := u.Verify(tt.user, tt.password); got != tt.want {
					t.Errorf("Verify(%q, %q) = %v, want %v", tt.user, tt.password, got, tt.want)
				}
			}
		})
	}
}

// The error for a bad users file names the line, and does not have the hash.
func TestUsersFileErrors(t *testing.T) {
	good := "alice:" + hashes["bcrypt"] + "\n"
	cut := func(kind string) string {
		return "bob:" + strings.TrimSuffix(hashes[kind], hashes[kind][len(hashes[kind])-2:])
	}
	for _, tt := range []struct{ name, line, want string }{
		{"no colon", "bob", "not a USER:HASH line"},
		{"no name", ":" + hashes["bcrypt"], "not a USER:HASH line"},
		{"no hash", "bob:", "of no known kind"},
		{"password in clear", "bob:s3cretpassword", "of no known kind"},
		{"crypt(3) DES", "bob:rqXexS6ZhobKA", "of no known kind"},
		{"unknown kind", "bob:$7$abc$def", "of no known kind"},
		{"bcrypt cut", cut("bcrypt"), "damaged"},
		{"bcrypt without anything", "bob:$2y$", "damaged"},
		{"bcrypt with a bad cost", "bob:$2y$99$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e", "damaged"},
		{"bcrypt with a bad character", "bob:$2y$04$abcdefghijklmnopqrs!uujydOTSfIH/d5oUHpsygqV5X9xJLQc6e", "damaged"},
		{"MD5 cut", cut("Apache's MD5"), "damaged"},
		{"MD5 without salt", "bob:$apr1$EGVZDNN6gOqijy.tv9axG/", "damaged"},
		{"SHA-256 cut", cut("SHA-256 crypt"), "damaged"},
		{"SHA-512 cut", cut("SHA-512 crypt"), "damaged"},
		{"SHA-512 with bad rounds", strings.Replace("bob:"+hashes["SHA-512, its rounds"], "1000", "x", 1), "damaged"},
		{"SHA cut", cut("SHA"), "damaged"},
		{"SSHA cut", "bob:{SSHA}LhKr", "damaged"},
		{"text behind the hash", "bob:" + hashes["bcrypt"] + ":extra", "damaged"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := usersFile(t, good+"\n"+tt.line+"\n")
			_, err := LoadUsers(path)
			if err == nil || !strings.Contains(err.Error(), path+":3: ") || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want line 3 named and %q", err, tt.want)
			}
			if _, hash, _ := strings.Cut(tt.line, ":"); len(hash) > 5 && strings.Contains(err.Error(), hash) {
				t.Errorf("the error shows the hash: %v", err)
			}
		})
	}
	if _, err := LoadUsers(usersFile(t, "# nobody\n")); err == nil || !strings.Contains(err.Error(), "no user") {
		t.Errorf("an empty file: %v", err)
	}
	if _, err := LoadUsers(filepath.Join(t.TempDir(), "missing")); !os.IsNotExist(err) {
		t.Errorf("a missing file: %v", err)
	}
}

// countingHash counts the hashes that are computed.
type countingHash struct {
	password string
	n        atomic.Int32
}

func (h *countingHash) MatchesPassword(password string) bool {
	h.n.Add(1)
	return password == h.password
}

// Not every tunnel costs a bcrypt.
func TestUsersPayForAHashOnce(t *testing.T) {
	u := mustUsers(t, "alice:"+hashes["bcrypt"])
	h := &countingHash{password: "right"}
	cost := u.table.hashes["alice"].cost
	u.table.hashes["alice"] = userHash{h, "text", cost}
	u.table.decoys[cost] = h
	verify := func(user, password string, want bool, hashed int32) {
		t.Helper()
		before := h.n.Load()
		if got := u.Verify(user, password); got != want {
			t.Errorf("Verify(%q, %q) = %v", user, password, got)
		}
		if n := h.n.Load() - before; n != hashed {
			t.Errorf("Verify(%q, %q) computed %d hashes, want %d", user, password, n, hashed)
		}
	}
	verify("alice", "right", true, 1)
	verify("alice", "right", true, 0)
	verify("alice", "wrong", false, 1)
	verify("alice", "wrong", false, 1) // failures are not remembered
	verify("alice", "right", true, 0)
	verify("bob", "right", false, 1) // as much work as for a known name
	verify("bob", "right", false, 1)
	// The cost of SHA-crypt grows with the square of the length.
	verify("alice", strings.Repeat("x", maxPassword+1), false, 0)
	u.mu.Lock()
	for id, v := range u.cache {
		v.at = v.at.Add(-verifiedFor)
		u.cache[id] = v
	}
	u.mu.Unlock()
	verify("alice", "right", true, 1)
}

// Many tunnels at once, as a browser opens them, cost one hash.
func TestUsersThatWaitShareOneHash(t *testing.T) {
	u := mustUsers(t, "alice:"+hashes["bcrypt"])
	u.busy = make(chan struct{}, 1)
	h := &countingHash{password: "right"}
	u.table.hashes["alice"] = userHash{h, "text", ""}
	u.busy <- struct{}{} // no hash can be computed yet
	verified := make(chan bool, 20)
	for range cap(verified) {
		go func() { verified <- u.Verify("alice", "right") }()
	}
	<-u.busy
	for range cap(verified) {
		if !testkit.Receive(t, "a verdict", verified) {
			t.Error("refused")
		}
	}
	if n := h.n.Load(); n != 1 {
		t.Errorf("%d hashes were computed", n)
	}
}

func TestUsersCacheIsBounded(t *testing.T) {
	u := mustUsers(t, "alice:"+hashes["SHA"])
	for i := range verifiedUsers {
		u.cache[u.id("alice", fmt.Sprint(i))] = verified{time.Now(), "alice", ""}
	}
	if !u.Verify("alice", "correct horse") || len(u.cache) > verifiedUsers {
		t.Errorf("%d entries", len(u.cache))
	}
}

// Passwords are not kept: the cache has keyed hashes, and each process another key.
func TestUsersCacheIsKeyed(t *testing.T) {
	a, b := mustUsers(t, "alice:"+hashes["SHA"]), mustUsers(t, "alice:"+hashes["SHA"])
	if a.id("alice", "x") == b.id("alice", "x") {
		t.Error("two processes have the same key")
	}
	if a.id("alic", "ex") == a.id("alice", "x") || a.id("1:a", "b") == a.id("1", ":ab") {
		t.Error("name and password run together")
	}
}

// A failure takes the same hashes for every name, one of each kind and cost in the file.
func TestUsersFailuresCostTheSame(t *testing.T) {
	u := mustUsers(t, "ada:"+hashes["bcrypt"]+"\neve:"+hashes["Apache's MD5"]+"\nbob:"+hashes["bcrypt of htpasswd"]+"\njoe:"+hashes["SHA-512, its rounds"]+"\n")
	if len(u.table.decoys) != 3 {
		t.Fatalf("kinds: %v", u.table.decoys)
	}
	counts := make(map[string]*countingHash)
	for cost := range u.table.decoys {
		counts[cost] = &countingHash{password: "right"}
		u.table.decoys[cost] = counts[cost]
	}
	for name, h := range u.table.hashes {
		h.EncodedPasswd = counts[h.cost]
		u.table.hashes[name] = h
	}
	for i, name := range []string{"ada", "eve", "bob", "joe", "nobody"} {
		u.Verify(name, "wrong")
		for cost, h := range counts {
			if n := int(h.n.Load()); n != i+1 {
				t.Errorf("after %s: %d hashes of %s, want %d", name, n, cost, i+1)
			}
		}
	}
}

// The file counts as it is now: a user that was removed, or has another password, is not
// remembered, and a file that cannot be used changes nothing.
func TestUsersFileIsReadAgain(t *testing.T) {
	path := usersFile(t, "ada:"+hashes["SHA"]+"\nbob:"+hashes["SSHA"]+"\n")
	u, err := LoadUsers(path)
	if err != nil {
		t.Fatal(err)
	}
	const right = "correct horse"
	expect := func(when string, want map[string]bool) {
		t.Helper()
		for name, ok := range want {
			u.mu.Lock()
			u.looked = time.Time{} // a second has passed
			u.mu.Unlock()
			if remembered := u.Remembers(name, right); remembered && !ok {
				t.Errorf("%s %s is remembered", when, name)
			}
			if u.Verify(name, right) != ok {
				t.Errorf("%s %s: %v, want %v", when, name, !ok, ok)
			}
		}
	}
	expect("at first", map[string]bool{"ada": true, "bob": true, "eve": false})
	replace := func(text string) {
		t.Helper()
		other := path + ".new"
		if err := os.WriteFile(other, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(other, path); err != nil {
			t.Fatal(err)
		}
	}
	replace("bob:" + hashes["SSHA"] + "\neve:" + hashes["SHA"] + "\n")
	expect("after a rename", map[string]bool{"ada": false, "bob": true, "eve": true})
	if !u.Remembers("bob", right) {
		t.Error("a user that stayed is not remembered")
	}
	if err := os.WriteFile(path, []byte("eve:{SH"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect("with half a file", map[string]bool{"ada": false, "bob": true, "eve": true})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	expect("without a file", map[string]bool{"bob": true, "eve": true})
	if _, err := u.Reload(); !os.IsNotExist(err) {
		t.Errorf("Reload: %v", err)
	}
	replace("bob:" + hashes["SHA-512, its rounds"] + "\n")
	if n, err := u.Reload(); n != 1 || err != nil {
		t.Errorf("Reload: %d, %v", n, err)
	}
	if u.Remembers("bob", right) {
		t.Error("a pair is remembered by the hash of before")
	}
	expect("after Reload", map[string]bool{"bob": true, "eve": false})
}

// A login is remembered while it is used.
func TestUsersRememberWhatIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := mustUsers(t, "ada:"+hashes["SHA"])
		u.Verify("ada", "correct horse")
		for range 5 {
			time.Sleep(verifiedFor - time.Second)
			if !u.Remembers("ada", "correct horse") {
				t.Fatal("it was forgotten while it was used")
			}
		}
		time.Sleep(verifiedFor)
		if u.Remembers("ada", "correct horse") {
			t.Error("it is remembered for ever")
		}
	})
}
