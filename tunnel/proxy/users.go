package proxy

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"culvert/tunnel/internal/textfile"

	htpasswd "github.com/tg123/go-htpasswd"
)

// Users is a Verifier with the users of an htpasswd file: bcrypt, SHA-crypt,
// MD5-crypt, SHA and SSHA hashes. It remembers verified pairs by a keyed hash while they
// are used, and ten minutes longer, so that not every tunnel costs a bcrypt. The file is
// read again when it changes; a pair is forgotten at once when the file has another hash
// for its user, or none.
type Users struct {
	// Log is told when the file was read again, and when it cannot be; nil = nobody. The
	// caller sets it before the first use.
	Log *slog.Logger

	path string
	key  [32]byte      // of the cache; it never leaves the process
	busy chan struct{} // bounds the hashes computed at once

	mu     sync.Mutex
	table  *userTable
	state  fileState // of the file that was read last, good or bad
	looked time.Time // when the file was looked at
	cache  map[[32]byte]verified
}

// userTable is the content of an htpasswd file.
type userTable struct {
	hashes map[string]userHash
	// decoys has a hash of each kind and cost in the file. All of them are computed for
	// every failure, so that the time of the answer does not reveal which names exist.
	decoys map[string]htpasswd.EncodedPasswd
}

// userHash is the hash of one user.
type userHash struct {
	htpasswd.EncodedPasswd
	text string
	cost string // its kind and cost, a key of decoys
}

// verified is a pair that was verified.
type verified struct {
	at         time.Time // when it was used last
	user, hash string    // by which it was verified
}

// fileState tells whether a file has changed, by rename or by writing.
type fileState struct {
	info os.FileInfo // nil = it could not be looked at
}

func stateOf(path string) fileState {
	info, err := os.Stat(path)
	if err != nil {
		return fileState{}
	}
	return fileState{info}
}

func (s fileState) equal(t fileState) bool {
	if s.info == nil || t.info == nil {
		return s.info == t.info
	}
	return os.SameFile(s.info, t.info) && s.info.Size() == t.info.Size() && s.info.ModTime().Equal(t.info.ModTime())
}

// Bounds of the cache of verified credentials, and of looking at the file.
const (
	verifiedFor   = 10 * time.Minute
	verifiedUsers = 10_000
	lookEvery     = time.Second
)

// hashesAtOnce returns how many hashes are computed at once. Of more than two processors
// one is left for the tunnels; of two the scheduler gives them their share.
func hashesAtOnce() int {
	n := runtime.NumCPU()
	return max(min(n, 2), n-1)
}

// LoadUsers reads an htpasswd file. A line that cannot be used is an error that
// names the line: otherwise its user could not log in, and nothing would say why.
func LoadUsers(path string) (*Users, error) {
	u := &Users{path: path, busy: make(chan struct{}, hashesAtOnce()), cache: make(map[[32]byte]verified)}
	rand.Read(u.key[:])
	if _, err := u.Reload(); err != nil {
		return nil, err
	}
	return u, nil
}

// Path returns the path of the file.
func (u *Users) Path() string { return u.path }

// Reload reads the file again, and returns how many users there are. If it cannot be
// read, or a line of it cannot be used, the users stay as they were.
func (u *Users) Reload() (count int, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.reload()
}

func (u *Users) reload() (int, error) {
	u.state, u.looked = stateOf(u.path), time.Now()
	table, err := readUsers(u.path)
	if err != nil {
		return 0, err
	}
	u.table = table
	for id, v := range u.cache {
		if table.hashes[v.user].text != v.hash {
			delete(u.cache, id)
		}
	}
	return len(table.hashes), nil
}

// look reads the file again if it has changed, and looks once a second at most. u.mu is
// held.
func (u *Users) look() {
	if time.Since(u.looked) < lookEvery {
		return
	}
	u.looked = time.Now()
	if stateOf(u.path).equal(u.state) {
		return
	}
	count, err := u.reload()
	switch {
	case u.Log == nil:
	case err != nil:
		u.Log.Warn("the users file has changed and cannot be used: the users stay as they were", "error", err)
	default:
		u.Log.Info("the users file was read again", "file", u.path, "users", count)
	}
}

func readUsers(path string) (*userTable, error) {
	text, err := textfile.Read(path)
	if err != nil {
		return nil, err
	}
	table := &userTable{hashes: make(map[string]userHash), decoys: make(map[string]htpasswd.EncodedPasswd)}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, hash, ok := strings.Cut(line, ":")
		if !ok || name == "" {
			return nil, fmt.Errorf("%s:%d: not a USER:HASH line", path, number)
		}
		encoded, err := parseHash(hash)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, number, err)
		}
		cost := costOf(hash)
		table.hashes[name], table.decoys[cost] = userHash{encoded, hash, cost}, encoded
	}
	if len(table.hashes) == 0 {
		return nil, fmt.Errorf("%s: there is no user in it; make one with: htpasswd -B -c %s NAME", path, path)
	}
	return table, nil
}

// costOf returns what a hash's kind and cost are known by: what stands before its salt.
func costOf(hash string) string {
	parts := strings.Split(hash, "$")
	switch {
	case len(parts) < 3:
		kind, _, _ := strings.Cut(hash, "}")
		return kind
	case strings.HasPrefix(parts[1], "2"), strings.HasPrefix(parts[2], "rounds="):
		return parts[1][:1] + "$" + parts[2]
	}
	return parts[1]
}

// parseHash accepts hashes only. A plain-text password is refused, since a mistyped
// hash would be taken for one.
func parseHash(hash string) (htpasswd.EncodedPasswd, error) {
	for _, parse := range []htpasswd.PasswdParser{
		htpasswd.AcceptBcrypt, htpasswd.AcceptMd5, htpasswd.AcceptCryptSha, htpasswd.AcceptSha, htpasswd.AcceptSsha,
	} {
		switch encoded, err := parse(hash); {
		case err != nil:
			return nil, errDamagedHash
		case encoded != nil && hash[0] == '$' && !cryptForm().MatchString(hash):
			// No password matches such a hash, and some make the library panic.
			return nil, errDamagedHash
		case encoded != nil:
			return encoded, nil
		}
	}
	return nil, errors.New("the hash is of no known kind; make it with: htpasswd -B")
}

var errDamagedHash = errors.New("the hash is damaged")

// cryptForm matches complete hashes in the form of crypt(3). The library's parsers
// check only the first few bytes.
var cryptForm = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^\$(` +
		`(1|apr1)\$[^$]*\$[./0-9A-Za-z]{22}|` +
		`5\$(rounds=[1-9][0-9]{3,8}\$)?[^$]*\$[./0-9A-Za-z]{43}|` +
		`6\$(rounds=[1-9][0-9]{3,8}\$)?[^$]*\$[./0-9A-Za-z]{86}|` +
		`2[abxy]\$(0[4-9]|[12][0-9]|3[01])\$[./0-9A-Za-z]{53})$`)
})

// maxPassword bounds the bytes of a password: the cost of SHA-crypt grows with the
// square of its length, and any client may send one.
const maxPassword = 1 << 10

// Remembers reports whether the pair was verified, and used within the last ten minutes.
func (u *Users) Remembers(user, password string) bool {
	return len(password) <= maxPassword && u.remembers(u.id(user, password))
}

// Verify reports whether the password is the user's. That it is not takes as long for
// every name, known or not.
func (u *Users) Verify(user, password string) bool {
	if len(password) > maxPassword {
		return false
	}
	id := u.id(user, password)
	if u.remembers(id) {
		return true
	}
	u.busy <- struct{}{}
	defer func() { <-u.busy }()
	if u.remembers(id) { // verified by another goroutine meanwhile
		return true
	}
	u.mu.Lock()
	table := u.table
	u.mu.Unlock()
	own, known := table.hashes[user]
	if known && own.MatchesPassword(password) {
		u.remember(id, user, own.text)
		return true
	}
	for cost, decoy := range table.decoys {
		if !known || cost != own.cost {
			decoy.MatchesPassword(password)
		}
	}
	return false
}

// remember remembers a pair that was verified, unless the file has changed meanwhile.
func (u *Users) remember(id [32]byte, user, hash string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.table.hashes[user].text != hash {
		return
	}
	if len(u.cache) >= verifiedUsers {
		u.makeRoom()
	}
	u.cache[id] = verified{time.Now(), user, hash}
}

// makeRoom forgets the pairs that were not used for long, and if there are none, a tenth
// of all.
func (u *Users) makeRoom() {
	for id, v := range u.cache {
		if time.Since(v.at) >= verifiedFor {
			delete(u.cache, id)
		}
	}
	for id := range u.cache {
		if len(u.cache) < verifiedUsers*9/10 {
			return
		}
		delete(u.cache, id)
	}
}

// remembers looks up the keyed hash. That takes the same time for every wrong
// password.
func (u *Users) remembers(id [32]byte) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.look()
	v, ok := u.cache[id]
	if !ok || time.Since(v.at) >= verifiedFor {
		return false
	}
	v.at = time.Now()
	u.cache[id] = v
	return true
}

// id returns the keyed hash of the pair. The length separates name and password.
func (u *Users) id(user, password string) [32]byte {
	mac := hmac.New(sha256.New, u.key[:])
	mac.Write([]byte(strconv.Itoa(len(user)) + ":" + user + password))
	return [32]byte(mac.Sum(nil))
}
