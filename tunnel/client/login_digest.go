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

	"culvert/tunnel"

	"github.com/icholy/digest"
)

// maxStale bounds the nonces that a proxy may call stale, one after the other.
const maxStale = 2

// digestLogin is Digest (RFC 7616), with the library's sums.
type digestLogin struct {
	credentials tunnel.Credentials
	last        *digest.Challenge // nil = none was answered yet
	count       int               // of answers with its nonce
	stale       int               // nonces that ran out
}

func (d *digestLogin) name() string { return AuthDigest }
func (d *digestLogin) bound() bool  { return false }

// answer is for a challenge of the proxy's. A second one means that the answer
// was refused, unless the nonce is only stale.
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
	d.last, d.count = parsed, 0
	value, err := d.resume(next)
	return value, again, err
}

// resume uses the nonce once more.
func (d *digestLogin) resume(next tunnel.Authority) (string, error) {
	return d.value(http.MethodConnect, next.String())
}

// value is the answer for one more request. The digest's URI is the request's
// target, as it stands in the request line (RFC 7616, section 3.4).
func (d *digestLogin) value(method, target string) (value string, err error) {
	d.count++
	options := digest.Options{Method: method, URI: target, Count: d.count,
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

// cutSession takes "-sess" off an algorithm's name.
func cutSession(algorithm string) (base string, session bool) {
	const suffix = "-sess"
	if n := len(algorithm) - len(suffix); n > 0 && strings.EqualFold(algorithm[n:], suffix) {
		return algorithm[:n], true
	}
	return algorithm, false
}

// sessionKey is A1 of the -sess algorithms (RFC 7616, section 3.4.2), which the
// library does not know, and the client nonce in it.
func (d *digestLogin) sessionKey(algorithm string) (cnonce, key string, err error) {
	sum := digestSums[strings.ToUpper(algorithm)].sum
	if sum == nil {
		return "", "", errors.New("the algorithm is not known")
	}
	cnonce = rand.Text()
	secret := sum(d.credentials.User + ":" + d.last.Realm + ":" + d.credentials.Password)
	return cnonce, sum(secret + ":" + d.last.Nonce + ":" + cnonce), nil
}

// digestSums are the algorithms of RFC 7616, section 6.1, and what they are worth.
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

// digestStrength is 0 for what is no Digest that could be answered.
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

// strongestFirst puts the Digest challenges in order of their strength.
func strongestFirst(offered []challenge) []challenge {
	sorted := slices.Clone(offered)
	slices.SortStableFunc(sorted, func(a, b challenge) int { return b.digestStrength() - a.digestStrength() })
	return sorted
}
