package proxy

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	htpasswd "github.com/tg123/go-htpasswd"
)

// Users is a Verifier with the users of an htpasswd file: bcrypt, SHA-crypt,
// MD5-crypt, SHA and SSHA hashes. It remembers verified pairs by a keyed hash for ten
// minutes, so that not every tunnel costs a bcrypt.
type Users struct {
	hashes map[string]htpasswd.EncodedPasswd
	decoy  htpasswd.EncodedPasswd // checked if the name is unknown
	key    [32]byte               // of the cache; it never leaves the process
	busy   chan struct{}          // bounds the hashes computed at once

	mu    sync.Mutex
	cache map[[32]byte]time.Time // when each pair was verified
}

// Bounds of the cache of verified credentials.
const (
	verifiedFor   = 10 * time.Minute
	verifiedUsers = 10_000
)

// LoadUsers reads an htpasswd file. A line that cannot be used is an error that
// names the line: otherwise its user could not log in, and nothing would say why.
func LoadUsers(path string) (*Users, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	u := &Users{hashes: make(map[string]htpasswd.EncodedPasswd), busy: make(chan struct{}, max(1, runtime.NumCPU()-1)), cache: make(map[[32]byte]time.Time)}
	rand.Read(u.key[:])
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
		u.hashes[name], u.decoy = encoded, encoded
	}
	if u.decoy == nil {
		return nil, fmt.Errorf("%s: there is no user in it; make one with: htpasswd -B -c %s NAME", path, path)
	}
	return u, nil
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

// Remembers reports whether the pair was verified within the last ten minutes.
func (u *Users) Remembers(user, password string) bool {
	return len(password) <= maxPassword && u.remembers(u.id(user, password))
}

// Verify reports whether the password is the user's.
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
	encoded, known := u.hashes[user]
	if !known {
		// As much work as for a known name, so that the time does not reveal
		// which names exist.
		u.decoy.MatchesPassword(password)
		return false
	}
	if !encoded.MatchesPassword(password) {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.cache) >= verifiedUsers {
		clear(u.cache)
	}
	u.cache[id] = time.Now()
	return true
}

// remembers looks up the keyed hash. That takes the same time for every wrong
// password.
func (u *Users) remembers(id [32]byte) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	at, ok := u.cache[id]
	return ok && time.Since(at) < verifiedFor
}

// id returns the keyed hash of the pair. The length separates name and password.
func (u *Users) id(user, password string) [32]byte {
	mac := hmac.New(sha256.New, u.key[:])
	mac.Write([]byte(strconv.Itoa(len(user)) + ":" + user + password))
	return [32]byte(mac.Sum(nil))
}
