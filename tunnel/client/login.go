package client

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/internal/wire"
)

// The schemes of Client.Auth.
const (
	AuthBasic  = "basic"  // RFC 7617
	AuthBearer = "bearer" // RFC 6750; the password is the token
	AuthDigest = "digest" // RFC 7616
	AuthNTLM   = "ntlm"   // version 2, for a connection, over HTTP/1 only

	AuthNegotiate = "negotiate" // RFC 4559, by Client.Negotiate
)

// AuthSchemes are the schemes that need a user name, strongest first.
var AuthSchemes = []string{AuthDigest, AuthNTLM, AuthBasic}

// Bounds on the rounds of one login.
const (
	maxLoginRounds = 8        // answers to challenges, of all schemes together
	maxLoginBody   = 64 << 10 // bytes of a 407's content that are read past, to use its connection again
)

// CheckAuth says why a scheme cannot be Client.Auth.
func CheckAuth(scheme string) error {
	switch scheme {
	case "", AuthBasic, AuthBearer, AuthDigest, AuthNTLM, AuthNegotiate:
		return nil
	}
	return fmt.Errorf("the scheme %q is not known: basic, bearer, digest, ntlm or negotiate", wire.Escape([]byte(scheme), maxSchemeLength))
}

// login is how one hop's credentials are shown to it while a tunnel is opened:
// what was tried, and what goes with the next request. It outlives connections,
// as most proxies close theirs after a 407 (RFC 9931).
type login struct {
	credentials   tunnel.Credentials
	newNegotiator func() (Negotiator, error) // nil = there is none
	schemes       []string                   // that may be tried, strongest first; those given up are taken out
	rounds        int
	offered       []challenge // so far, less what continues a scheme
	current       loginScheme // nil = none yet
	value         string      // of Proxy-Authorization; "" = none goes along
	sent          bool        // value went out
	shown         bool        // credentials went with some request
	mayWrapNTLM   bool        // NTLM may be tried under Negotiate's name, where nothing else is offered
	connLost      bool        // a connection that was kept turned out to be closed
	failed        error       // why an answer could not be made; nil = none failed
}

// loginScheme answers the challenges of one scheme.
type loginScheme interface {
	name() string

	// answer is the Proxy-Authorization value for a challenge. again is false
	// where the challenge says that the last answer was refused.
	answer(c challenge, next tunnel.Authority) (value string, again bool, err error)

	// bound reports that an answer counts only on the connection that its
	// challenge came over.
	bound() bool

	// resume is the value for one more request, over another connection.
	resume(next tunnel.Authority) (string, error)
}

// newLogin makes the login at a hop; nil if there is nothing to log in with.
func (c *Client) newLogin(hop tunnel.Hop, next tunnel.Authority) *login {
	l := &login{}
	if c.Negotiate != nil && hop.Scheme != tunnel.SchemeUnix { // a socket has no service name
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
	// What is the only one to try, or opened a tunnel before, needs no challenge.
	if only := len(l.schemes) == 1 && (l.may(AuthBasic) || l.may(AuthBearer)); only || c.Auth == "" && c.sharedConns().tookBasic(hop) {
		l.begin(challenge{scheme: l.schemes[len(l.schemes)-1]}, next)
	}
	return l
}

func (l *login) may(scheme string) bool { return slices.Contains(l.schemes, scheme) }

// begin shows the credentials by another scheme than before.
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

// giveUp takes the current scheme out.
func (l *login) giveUp() {
	l.schemes = slices.DeleteFunc(l.schemes, func(s string) bool { return s == l.current.name() })
	l.current, l.value, l.sent = nil, "", false
}

// challenged takes a 407, or a 401 in its stead, over a connection that can be
// used again or not. It reports whether the request is to be sent again, and
// whether here, over the same connection.
func (l *login) challenged(reply *wire.Reply, next tunnel.Authority, kept bool) (again, here bool) {
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
	// Squid, for one, then offers only what it just refused: what it offered
	// before still stands.
	for _, c := range l.offered {
		if !slices.ContainsFunc(offered, func(n challenge) bool { return n.is(c.scheme) }) {
			offered = append(offered, c)
		}
	}
	l.offered = offered
	return l.choose(next), kept && !l.connLost
}

// hungUp takes the end of a connection that a 407 had left open. It reports
// whether the request is to be sent again, over another.
func (l *login) connClosed(next tunnel.Authority) (again bool) {
	switch {
	case !l.connLost:
		l.connLost = true // from now on it is not relied upon
		return true
	case l.current == nil || !l.current.bound():
		return false
	}
	l.giveUp()
	return l.choose(next)
}

// choose begins with the strongest scheme on offer, whatever the order in which
// the proxy has them; of several Digests with the strongest.
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

// chooseWithin tries the credentials by NTLM under Negotiate's name, once, where
// that is all there is on offer and there was no ticket to show.
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

// goOn answers a further challenge of the scheme that is under way.
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

// send returns the value for a request that goes out now, "" for none.
func (l *login) send() string {
	if l == nil {
		return ""
	}
	l.sent = l.value != ""
	l.shown = l.shown || l.sent
	return l.value
}

// resume is for another connection: what was said on the one before is spent.
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

// opened remembers by which scheme a tunnel was opened.
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

// plainLogin is Basic and Bearer, which answer every challenge the same.
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
