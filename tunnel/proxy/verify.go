package proxy

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/internal/turns"
	"culvert/tunnel/internal/wire"
	"culvert/tunnel/listen"
)

// Verifier checks user names and passwords. It is called from many goroutines at
// once. If it also has a method Remembers, as Users has, that is called first: it
// reports whether a pair is already known to be right, without computing a hash.
type Verifier interface {
	// Verify reports whether the password is the user's.
	Verify(user, password string) bool
}

// verify returns the user by the client's certificate, or else by its credentials; with
// an error, the name that was tried. Where only a certificate would do, there is no
// challenge.
func (ln *listener) verify(a requestInfo) (user string, e *tunnel.Error) {
	switch {
	case a.user != "":
		return a.user, nil
	case ln.server.Verifier == nil && listen.VerifiesClients(ln.Listener):
		return "", &tunnel.Error{Phase: tunnel.PhaseVerify, Type: tunnel.ErrorDenied, Rule: "client certificate missing",
			Detail: "this proxy wants a client certificate"}
	}
	return ln.server.verifyCredentials(a)
}

// verifyCredentials returns the user by a request's Proxy-Authorization values (RFC
// 9110, section 11.7; RFC 7617), or the name that was tried and why it is refused. Without
// a Verifier they are ignored.
func (s *Server) verifyCredentials(a requestInfo) (user string, e *tunnel.Error) {
	if s.Verifier == nil {
		return "", nil
	}
	if len(a.credentials) == 0 {
		return "", credentialsError("credentials missing", "this proxy wants a user name and a password")
	}
	user, password, ok := parseBasic(a.credentials)
	if !ok {
		return "", credentialsError("credentials refused", "the credentials are not a user name and a password as Basic has them")
	}
	if r, ok := s.Verifier.(rememberer); ok && s.run.known.has(a.client, user) && r.Remembers(user, password) {
		s.run.known.add(a.client, user)
		return user, nil // it never waits
	}
	ok, err := s.awaitTurn(a, func() bool { return s.Verifier.Verify(user, password) })
	switch {
	case ok:
		s.run.known.add(a.client, user)
		return user, nil
	case err == nil:
		e = credentialsError("credentials refused", "the user name or the password is wrong")
	default:
		e = err
	}
	return triedName(user), e
}

// rememberer is a Verifier that knows which pairs are right without computing a hash.
type rememberer interface {
	Remembers(user, password string) bool
}

var _ rememberer = (*Users)(nil)

// awaitTurn makes an attempt to log in when it is the client's turn.
func (s *Server) awaitTurn(a requestInfo, try func() bool) (bool, *tunnel.Error) {
	ctx, stop := a.whileThere(s.run.ctx)
	defer stop()
	ok, err := s.run.logins.Do(ctx, a.client, a.weight, try)
	switch {
	case err == nil:
		return ok, nil
	case errors.Is(err, turns.ErrFull):
		return false, &tunnel.Error{Phase: tunnel.PhaseVerify, Type: tunnel.ErrorConnectionLimit, Rule: "logins", Detail: "too many logins are waiting", RetryAfter: turns.RetryAfter}
	case errors.Is(err, errClientGone):
		return false, clientGone(tunnel.PhaseVerify)
	}
	return false, errorDraining(tunnel.Authority{})
}

// maxTriedName bounds a name that was tried in the log, in bytes.
const maxTriedName = 64

// triedName returns the form in which the log has a name that was tried. The client that
// sent it is a stranger: it is short, and valid UTF-8.
func triedName(name string) string {
	if len(name) > maxTriedName {
		name = name[:maxTriedName] + "..."
	}
	return strings.ToValidUTF8(name, "?")
}

func credentialsError(rule, detail string) *tunnel.Error {
	return &tunnel.Error{Phase: tunnel.PhaseVerify, Type: tunnel.ErrorCredentials, Status: http.StatusProxyAuthRequired, Rule: rule, Detail: detail}
}

// challenge returns the Proxy-Authenticate value, with the charset parameter (RFC
// 7617, section 2.1).
func (s *Server) challenge() string {
	realm := s.Realm
	if realm == "" {
		realm = "culvert"
	}
	var b strings.Builder
	b.WriteString("Basic realm=")
	wire.WriteQuoted(&b, realm) // a quoted-string with the same escapes
	b.WriteString(`, charset="UTF-8"`)
	return b.String()
}

// parseBasic parses the values of Proxy-Authorization, of which there must be one.
func parseBasic(values []string) (user, password string, ok bool) {
	if len(values) != 1 {
		return "", "", false
	}
	scheme, encoded, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	decoded, err := base64.StdEncoding.DecodeString(strings.Trim(encoded, " "))
	if err != nil {
		return "", "", false
	}
	return strings.Cut(string(decoded), ":")
}

// knownLogins remembers from which addresses users have logged in. Only there a remembered
// password is taken without a turn: elsewhere it would tell, at any speed, whether a guess
// is right.
type knownLogins struct {
	mu sync.Mutex
	at map[knownLogin]time.Time // when it was used last
}

type knownLogin struct {
	network netip.Prefix
	user    string
}

func knownLoginOf(from netip.Addr, user string) knownLogin {
	bits := 32
	if from.Is6() {
		bits = 64
	}
	network, _ := from.Prefix(bits) // invalid for unix sockets
	return knownLogin{network, user}
}

func (k *knownLogins) has(from netip.Addr, user string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	at, ok := k.at[knownLoginOf(from, user)]
	return ok && time.Since(at) < verifiedFor
}

func (k *knownLogins) add(from netip.Addr, user string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.at == nil {
		k.at = make(map[knownLogin]time.Time)
	}
	if len(k.at) >= verifiedUsers {
		for key := range k.at {
			if delete(k.at, key); len(k.at) < verifiedUsers*9/10 {
				break
			}
		}
	}
	k.at[knownLoginOf(from, user)] = time.Now()
}
