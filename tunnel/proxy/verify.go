package proxy

import (
	"encoding/base64"
	"net/http"
	"net/netip"
	"strings"

	"culvert/tunnel"
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

// verify returns the user by the client's certificate, or else by its credentials.
// Where only a certificate would do, there is no challenge.
func (ln *listener) verify(a requestInfo) (user string, e *tunnel.Error) {
	switch {
	case a.user != "":
		return a.user, nil
	case ln.server.Verifier == nil && listen.VerifiesClients(ln.Listener):
		return "", &tunnel.Error{Phase: tunnel.PhaseVerify, Type: tunnel.ErrorDenied, Rule: "client certificate missing",
			Detail: "this proxy wants a client certificate"}
	}
	return ln.server.verifyCredentials(a.credentials, a.client)
}

// verifyCredentials returns the user by a request's Proxy-Authorization values (RFC
// 9110, section 11.7; RFC 7617). Without a Verifier they are ignored. After several
// failures from an address, the refusal of the next is delayed.
func (s *Server) verifyCredentials(values []string, from netip.Addr) (string, *tunnel.Error) {
	if s.Verifier == nil {
		return "", nil
	}
	if len(values) == 0 {
		return "", credentialsError("credentials missing", "this proxy wants a user name and a password")
	}
	user, password, ok := parseBasic(values)
	if ok && s.checkPassword(user, password, from) {
		return user, nil
	}
	s.run.throttle.failed(s.run.ctx.Done(), from)
	return "", credentialsError("credentials refused", "the user name or the password is wrong")
}

// checkPassword asks the Verifier. Unless the Verifier remembers the pair, an address
// that has failed before waits for its earlier attempts, so that a flood of wrong
// passwords from one address costs one hash at a time.
func (s *Server) checkPassword(user, password string, from netip.Addr) bool {
	if r, ok := s.Verifier.(interface {
		Remembers(user, password string) bool
	}); ok && r.Remembers(user, password) {
		return true
	}
	leave, ok := s.run.throttle.enter(s.run.ctx.Done(), from)
	if !ok {
		return false
	}
	defer leave()
	return s.Verifier.Verify(user, password)
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
