package client

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/internal/wire"
)

// The authentication schemes for Client.Auth.
const (
	AuthBasic  = "basic"  // RFC 7617
	AuthBearer = "bearer" // RFC 6750; the password is the token
	AuthDigest = "digest" // RFC 7616
	AuthNTLM   = "ntlm"   // NTLMv2; authenticates a connection, over HTTP/1 only

	AuthNegotiate = "negotiate" // RFC 4559; needs Client.Negotiate
)

// AuthSchemes are the schemes that use a user name and a password, strongest first.
var AuthSchemes = []string{AuthDigest, AuthNTLM, AuthBasic}

// Limits on the rounds of one login.
const (
	maxLoginRounds = 8        // answers to challenges, of all schemes together
	maxLoginBody   = 64 << 10 // bytes of a 407's content that are skipped to use its connection again
)

// CheckAuth returns an error if Client.Auth cannot be the given scheme.
func CheckAuth(scheme string) error {
	switch scheme {
	case "", AuthBasic, AuthBearer, AuthDigest, AuthNTLM, AuthNegotiate:
		return nil
	}
	return fmt.Errorf("the scheme %q is not known: basic, bearer, digest, ntlm or negotiate", wire.Escape([]byte(scheme), maxSchemeLength))
}

// login is the login at one hop while a tunnel is opened: the schemes that were tried,
// and the credentials for the next request. It may need more than one connection,
// since most proxies close theirs after a 407 (RFC 9931). A nil login sends nothing and
// answers no challenge.
type login struct {
	credentials   tunnel.Credentials
	newNegotiator func() (Negotiator, error) // nil = there is none
	schemes       []string                   // still to try, strongest first; includes the current one
	rounds        int                        // challenges received
	offered       []challenge                // so far, without those that continued a scheme
	current       loginScheme                // nil = none yet
	value         string                     // of Proxy-Authorization in the next request; "" = no field
	sent          bool                       // value was sent
	shown         bool                       // credentials were sent in some request
	mayWrapNTLM   bool                       // NTLM may be tried under Negotiate's name if nothing else is offered
	connLost      bool                       // a connection that should have stayed open was closed
	failed        error                      // why a scheme could not answer a challenge; nil = none failed
}

// loginScheme answers the challenges of one scheme.
type loginScheme interface {
	name() string

	// answer returns the Proxy-Authorization value for a challenge. again is false if
	// the challenge means that the last answer was refused.
	answer(c challenge, next tunnel.Authority) (value string, again bool, err error)

	// bound reports whether an answer is valid only on the connection on which its
	// challenge was received.
	bound() bool

	// resume returns the value for one more request, over another connection.
	resume(next tunnel.Authority) (string, error)
}

// newLogin returns the login at a hop; nil if there is nothing to log in with.
func (c *Client) newLogin(hop tunnel.Hop, next tunnel.Authority) *login {
	l := &login{}
	if c.Negotiate != nil && hop.Scheme != tunnel.SchemeUnix { // a Unix socket has no service name
		l.schemes = []string{AuthNegotiate}
		l.newNegotiator = func() (Negotiator, error) { return c.Negotiate(hop.Proxy.Host()) }
	}
	if hop.Credentials != nil {
		l.credentials, l.schemes = *hop.Credentials, append(l.schemes, AuthSchemes...)
	}
	switch {
	case c.Auth == "":
	case c.Auth == AuthBearer && hop.Credentials != nil, l.may(c.Auth):
		l.schemes = []string{c.Auth}
	default:
		l.schemes = nil
	}
	l.mayWrapNTLM = hop.Credentials != nil && (c.Auth == "" || c.Auth == AuthNegotiate)
	if len(l.schemes) == 0 && hop.Credentials == nil {
		return nil
	}
	// Basic and Bearer need no challenge if there is no other scheme to try, nor does
	// Basic if it opened a tunnel before.
	if only := len(l.schemes) == 1 && (l.may(AuthBasic) || l.may(AuthBearer)); only || c.Auth == "" && c.sharedConns().tookBasic(hop) {
		l.begin(challenge{scheme: l.schemes[len(l.schemes)-1]}, next)
	}
	return l
}

// may reports whether a scheme may be tried.
func (l *login) may(scheme string) bool { return slices.Contains(l.schemes, scheme) }

// begin answers a challenge by another scheme than before. It reports whether that
// was possible; if not, the scheme is given up.
func (l *login) begin(c challenge, next tunnel.Authority) bool {
	switch scheme := strings.ToLower(c.scheme); scheme {
	case AuthDigest:
		l.current = &digestLogin{credentials: l.credentials}
	case AuthNTLM:
		l.current = &ntlmLogin{credentials: l.credentials}
	case AuthNegotiate:
		l.current = &negotiateLogin{newNegotiator: l.newNegotiator}
	default:
		l.current = &plainLogin{scheme: scheme, credentials: l.credentials}
	}
	value, _, err := l.current.answer(c, next)
	if err != nil {
		l.failed = fmt.Errorf("%s: %w", c.scheme, err)
		l.giveUp()
		return false
	}
	l.value, l.sent = value, false
	return true
}

// giveUp removes the current scheme from those to try.
func (l *login) giveUp() {
	l.schemes = slices.DeleteFunc(l.schemes, func(s string) bool { return s == l.current.name() })
	l.current, l.value, l.sent = nil, "", false
}

// challenged processes a 407, or a 401 in its place. The connection can be used
// again if kept is true. The results report whether to send the request again, and
// whether to do so over the same connection.
func (l *login) challenged(reply *wire.Reply, next tunnel.Authority, kept bool) (again, sameConn bool) {
	if l == nil || l.rounds == maxLoginRounds || reply.Code != http.StatusProxyAuthRequired && reply.Code != http.StatusUnauthorized {
		return false, false
	}
	l.rounds++
	offered := challenges(reply)
	if l.current != nil {
		if l.continueScheme(offered, next, kept) {
			return true, kept && (!l.connLost || l.current.bound())
		}
		l.giveUp()
	}
	// Some proxies, such as Squid, now offer only the scheme that they just refused.
	// What they offered before is still valid.
	for _, c := range l.offered {
		if !slices.ContainsFunc(offered, func(n challenge) bool { return n.is(c.scheme) }) {
			offered = append(offered, c)
		}
	}
	l.offered = offered
	return l.choose(next), kept && !l.connLost
}

// connClosed is called if a connection ends that should have stayed open after a 407.
// It reports whether to send the request again, over another connection.
func (l *login) connClosed(next tunnel.Authority) (again bool) {
	switch {
	case !l.connLost:
		l.connLost = true // do not rely on such connections any more
		return true
	case l.current == nil || !l.current.bound():
		return false
	}
	l.giveUp()
	return l.choose(next)
}

// choose begins with the strongest scheme on offer, in whatever order the proxy lists
// them, and with the strongest of several Digest challenges. It reports whether there
// is a scheme left.
func (l *login) choose(next tunnel.Authority) bool {
	for _, scheme := range slices.Clone(l.schemes) {
		for _, c := range strongestFirst(l.offered) {
			if c.is(scheme) && l.may(scheme) && l.begin(c, next) {
				return true
			}
		}
	}
	return l.chooseNTLMAsNegotiate(next)
}

// chooseNTLMAsNegotiate begins with NTLM under Negotiate's name. It does so once, if
// the proxy offers nothing else and no ticket was sent.
func (l *login) chooseNTLMAsNegotiate(next tunnel.Authority) bool {
	offers := func(scheme string) bool {
		return slices.ContainsFunc(l.offered, func(c challenge) bool { return c.is(scheme) })
	}
	if !l.mayWrapNTLM || l.shown || !offers(AuthNegotiate) || slices.ContainsFunc(AuthSchemes, offers) {
		return false
	}
	l.mayWrapNTLM = false
	l.current = &ntlmLogin{credentials: l.credentials, scheme: AuthNegotiate}
	value, _, err := l.current.answer(challenge{}, next)
	if err != nil {
		l.failed = err
		l.giveUp()
		return false
	}
	l.value, l.sent = value, false
	return true
}

// continueScheme answers a further challenge of the current scheme. It reports false
// if there is none, or if it means a refusal.
func (l *login) continueScheme(offered []challenge, next tunnel.Authority, kept bool) bool {
	for _, c := range strongestFirst(offered) {
		if !c.is(l.current.name()) {
			continue
		}
		value, again, err := l.current.answer(c, next)
		if err != nil || !again || l.current.bound() && !kept {
			return false
		}
		l.value, l.sent = value, false
		return true
	}
	return false
}

// send returns the Proxy-Authorization value for a request that is sent now; "" = none.
func (l *login) send() string {
	if l == nil {
		return ""
	}
	l.sent = l.value != ""
	l.shown = l.shown || l.sent
	return l.value
}

// resume prepares for another connection: an answer that was sent on the one before
// is used up.
func (l *login) resume(next tunnel.Authority) {
	if l == nil || l.current == nil || !l.sent {
		return
	}
	value, err := l.current.resume(next)
	if err != nil {
		l.giveUp()
		return
	}
	l.value, l.sent = value, false
}

// opened remembers the credentials if they opened a tunnel by Basic.
func (l *login) opened(s *sharedConns, hop tunnel.Hop) {
	if l == nil || l.current == nil || l.current.name() != AuthBasic {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.basic == nil {
		s.basic = make(map[string]tunnel.Credentials)
	}
	s.basic[hop.String()] = *hop.Credentials
}

// plainLogin implements Basic and Bearer, whose answers are the same for every
// challenge.
type plainLogin struct {
	scheme      string
	credentials tunnel.Credentials
	answered    bool
}

func (p *plainLogin) name() string                            { return p.scheme }
func (p *plainLogin) bound() bool                             { return false }
func (p *plainLogin) resume(tunnel.Authority) (string, error) { return p.value(), nil }

func (p *plainLogin) answer(challenge, tunnel.Authority) (string, bool, error) {
	again := !p.answered
	p.answered = true
	return p.value(), again, nil
}

func (p *plainLogin) value() string {
	if p.scheme == AuthBearer {
		return "Bearer " + p.credentials.Password
	}
	return p.credentials.Basic()
}
