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

// Verifier checks a user name and a password. It is called from many
// goroutines at once. If it also has a method Remembers, as Users has, that is
// called first: it returns true for a pair that is known to be right without
// computing a hash.
type Verifier interface {
	Verify(user, password string) bool
}

// verify returns the user that a client is, by its certificate or else by its
// credentials. Where only a certificate would do, there is no challenge.
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

// verify returns the user that a client is by its Proxy-Authorization values (RFC
// 9110, section 11.7; RFC 7617). Without a Verifier they are ignored. Wrong
// credentials are answered late if there were many; right ones never are.
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

// verifies asks the Verifier: at once what it remembers. Otherwise an address that
// has failed before waits for its own earlier attempts, so that for a flood of
// wrong passwords from there one hash at a time is computed.
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

// challenge returns the Proxy-Authenticate value, with the charset parameter of RFC
// 7617, section 2.1.
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

// parseBasic parses the credentials field, of which there must be one.
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
