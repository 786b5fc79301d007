package client

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"culvert/tunnel"

	"github.com/icholy/digest"
)

// maxStale is how many nonces in a row a proxy may declare stale.
const maxStale = 2

// digestLogin implements Digest (RFC 7616) on top of the library, which computes the
// digests.
type digestLogin struct {
	credentials tunnel.Credentials
	last        *digest.Challenge // nil = none was answered yet
	uses        *nonceCount       // of the nonce of last
	stale       int               // nonces declared stale
}

// nonceCount counts the answers with one nonce. Logins of several tunnels share it.
type nonceCount struct{ atomic.Int32 }

func (d *digestLogin) name() string { return AuthDigest }
func (d *digestLogin) bound() bool  { return false }
func (d *digestLogin) proves() bool { return true }

func (d *digestLogin) again() loginScheme {
	return &digestLogin{credentials: d.credentials, last: d.last, uses: d.uses}
}

// answer answers a challenge of the proxy's. A second challenge means that the answer
// was refused, unless only the nonce is stale.
func (d *digestLogin) answer(c challenge, next tunnel.Authority) (string, bool, error) {
	parsed, err := digest.ParseChallenge("Digest " + c.rest)
	switch {
	case err != nil:
		return "", false, err
	case parsed.Nonce == "":
		return "", false, errors.New("the challenge has no nonce")
	}
	for i, qop := range parsed.QOP {
		parsed.QOP[i] = strings.ToLower(strings.TrimSpace(qop))
	}
	again := d.last == nil
	if d.last != nil && parsed.Stale && d.stale < maxStale {
		d.stale++
		again = true
	}
	d.last, d.uses = parsed, &nonceCount{}
	value, err := d.resume(next)
	return value, again, err
}

// resume answers with the same nonce once more.
func (d *digestLogin) resume(next tunnel.Authority) (string, error) {
	return d.value(http.MethodConnect, next.String())
}

// value returns the answer for one more request. The digest's URI is the request
// target, as it is in the request line (RFC 7616, section 3.4).
func (d *digestLogin) value(method, target string) (value string, err error) {
	options := digest.Options{Method: method, URI: target, Count: int(d.uses.Add(1)),
		Username: d.credentials.User, Password: d.credentials.Password}
	c := *d.last
	if base, session := cutSession(c.Algorithm); session {
		if options.Cnonce, options.A1, err = d.sessionKey(base); err != nil {
			return "", err
		}
		c.Algorithm = base
	}
	answer, err := digest.Digest(&c, options)
	if err != nil {
		return "", err
	}
	answer.Algorithm = d.last.Algorithm
	return answer.String(), nil
}

// cutSession removes "-sess" from an algorithm's name.
func cutSession(algorithm string) (base string, session bool) {
	const suffix = "-sess"
	if n := len(algorithm) - len(suffix); n > 0 && strings.EqualFold(algorithm[n:], suffix) {
		return algorithm[:n], true
	}
	return algorithm, false
}

// sessionKey returns A1 for a -sess algorithm (RFC 7616, section 3.4.2), which the
// library does not support, and the client nonce that A1 includes.
func (d *digestLogin) sessionKey(algorithm string) (cnonce, key string, err error) {
	sum := digestSums[strings.ToUpper(algorithm)].sum
	if sum == nil {
		return "", "", errors.New("the algorithm is not known")
	}
	cnonce = rand.Text()
	secret := sum(d.credentials.User + ":" + d.last.Realm + ":" + d.credentials.Password)
	return cnonce, sum(secret + ":" + d.last.Nonce + ":" + cnonce), nil
}

// digestSums holds the algorithms of RFC 7616, section 6.1. Of two, the one with the
// greater strength is preferred.
var digestSums = map[string]struct {
	strength int
	sum      func(string) string
}{
	"":            {1, sumMD5},
	"MD5":         {1, sumMD5},
	"SHA-256":     {2, func(s string) string { b := sha256.Sum256([]byte(s)); return hex.EncodeToString(b[:]) }},
	"SHA-512-256": {3, func(s string) string { b := sha512.Sum512_256([]byte(s)); return hex.EncodeToString(b[:]) }},
}

func sumMD5(s string) string { b := md5.Sum([]byte(s)); return hex.EncodeToString(b[:]) }

// digestStrength returns the strength of a Digest challenge; 0 if the challenge is of
// another scheme, or cannot be answered.
func (c challenge) digestStrength() int {
	if !c.is(AuthDigest) {
		return 0
	}
	parsed, err := digest.ParseChallenge("Digest " + c.rest)
	if err != nil {
		return 0
	}
	base, _ := cutSession(parsed.Algorithm)
	return digestSums[strings.ToUpper(base)].strength
}

// strongestFirst returns the challenges with those of Digest in front, the strongest
// first.
func strongestFirst(offered []challenge) []challenge {
	sorted := slices.Clone(offered)
	slices.SortStableFunc(sorted, func(a, b challenge) int { return b.digestStrength() - a.digestStrength() })
	return sorted
}
