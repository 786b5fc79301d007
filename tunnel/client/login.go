package client

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/internal/wire"
)

// The authentication schemes for Client.Auth.
const (
	AuthBasic  = "basic"   // RFC 7617
	AuthBearer = "bearer"  // RFC 6750; the password is the token
	AuthDigest = "digest"  // RFC 7616
	AuthNTLM   = "ntlm"    // NTLMv2; authenticates a connection, over HTTP/1 only
	AuthNTLMv1 = "ntlm-v1" // the same by version 1, which can be broken by who records it

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
	case "", AuthBasic, AuthBearer, AuthDigest, AuthNTLM, AuthNTLMv1, AuthNegotiate:
		return nil
	}
	return fmt.Errorf("the scheme %q is not known: basic, bearer, digest, ntlm, ntlm-v1 or negotiate", wire.Escape([]byte(scheme), maxSchemeLength))
}

// login is the login at one hop while a tunnel is opened: the schemes that were tried,
// and the credentials for the next request. It may need more than one connection,
// since most proxies close theirs after a 407 (RFC 9931). A nil login sends nothing and
// answers no challenge.
type login struct {
	credentials   tunnel.Credentials
	newNegotiator func() (Negotiator, error) // nil = there is none
	changed       func(LoginChange)          // nil = nobody wants to know
	memory        *loginMemory
	key           string       // in memory
	version1      bool         // NTLM answers by version 1
	overHTTP2     bool         // no scheme can authenticate a connection
	schemes       []string     // still to try, strongest first; includes the current one
	rounds        int          // challenges received
	offered       []challenge  // so far, without those that continued a scheme
	current       loginScheme  // nil = none yet
	remembered    bool         // current is one that opened a tunnel before, and was not challenged yet
	value         string       // of Proxy-Authorization in the next request; "" = no field
	sent          bool         // value was sent
	shown         bool         // credentials were sent in some request
	mayWrapNTLM   bool         // NTLM may be tried under Negotiate's name if nothing else is offered
	connLost      bool         // a connection that should have stayed open was of no use
	fellSilent    bool         // because the proxy said nothing more on it
	failed        error        // why a scheme could not be used, the last one; nil = none failed
	left          *LoginChange // the scheme that was given up, until another begins; nil = none
}

// LoginChange says that a login at a proxy goes on in another way than it began.
type LoginChange struct {
	Proxy  string
	Scheme string // as people write it, as "NTLM"
	Err    error  // why not by that; nil = the proxy refused the credentials
	Next   string // the scheme that is tried now; Scheme = the same once more, over another connection
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

	// proves reports whether the last value was made of the credentials, and was not
	// only the request for a challenge.
	proves() bool

	// resume returns the value for one more request, over another connection.
	resume(next tunnel.Authority) (string, error)

	// again returns the scheme for another tunnel through the same proxy, by what this
	// one learned. Its first value comes from resume.
	again() loginScheme
}

// newLogin returns the login at a hop; nil if there is nothing to log in with.
func (c *Client) newLogin(hop tunnel.Hop, next tunnel.Authority) *login {
	l := &login{version1: c.Auth == AuthNTLMv1}
	auth := c.Auth
	if l.version1 {
		auth = AuthNTLM
	}
	if t := c.Trace; t != nil && t.LoginChanged != nil {
		l.changed = func(change LoginChange) {
			change.Proxy = hop.Name()
			t.LoginChanged(change)
		}
	}
	if c.Negotiate != nil && hop.Scheme != tunnel.SchemeUnix { // a Unix socket has no service name
		l.schemes = []string{AuthNegotiate}
		l.newNegotiator = func() (Negotiator, error) { return c.Negotiate(hop.Proxy.Host()) }
	}
	if hop.Credentials != nil {
		l.credentials, l.schemes = *hop.Credentials, append(l.schemes, AuthSchemes...)
	}
	switch {
	case auth == "":
	case auth == AuthBearer && hop.Credentials != nil, l.may(auth):
		l.schemes = []string{auth}
	default:
		l.schemes = nil
	}
	l.mayWrapNTLM = hop.Credentials != nil && (auth == "" || auth == AuthNegotiate)
	if len(l.schemes) == 0 && hop.Credentials == nil {
		return nil
	}
	l.memory, l.key = c.loginMemory(), c.memoryKey(hop)
	if known := l.memory.recall(l.key); known != nil && l.rely(known, next) {
		return l
	}
	// Basic and Bearer need no challenge if there is no other scheme to try.
	if len(l.schemes) == 1 && (l.may(AuthBasic) || l.may(AuthBearer)) {
		l.begin(challenge{scheme: l.schemes[0]}, next)
	}
	return l
}

// may reports whether a scheme may be tried.
func (l *login) may(scheme string) bool { return slices.Contains(l.schemes, scheme) }

// rely begins with a scheme that opened a tunnel before, without waiting for a
// challenge. It reports whether that was possible.
func (l *login) rely(known loginScheme, next tunnel.Authority) bool {
	value, err := known.resume(next)
	if err != nil {
		return false
	}
	l.current, l.value, l.remembered = known, value, true
	return true
}

// opened remembers the scheme by which a tunnel was opened.
func (l *login) opened() {
	if l != nil && l.current != nil {
		l.memory.remember(l.key, l.current)
	}
}

// begin answers a challenge by another scheme than before. It reports whether that
// was possible; if not, the scheme is given up.
func (l *login) begin(c challenge, next tunnel.Authority) bool {
	switch scheme := strings.ToLower(c.scheme); scheme {
	case AuthDigest:
		return l.beginWith(&digestLogin{credentials: l.credentials}, c, next)
	case AuthNTLM:
		return l.beginWith(&ntlmLogin{credentials: l.credentials, version1: l.version1}, c, next)
	case AuthNegotiate:
		return l.beginWith(&negotiateLogin{newNegotiator: l.newNegotiator}, c, next)
	default:
		return l.beginWith(&plainLogin{scheme: scheme, credentials: l.credentials}, c, next)
	}
}

func (l *login) beginWith(scheme loginScheme, c challenge, next tunnel.Authority) bool {
	l.current = scheme
	if scheme.bound() && l.overHTTP2 {
		l.giveUp(&LoginError{Err: errors.New("NTLM authenticates a connection, and those of HTTP/2 are shared"),
			Hint: "name another scheme with --auth, or a port of the proxy's that speaks HTTP/1.1", Proxy: true})
		return false
	}
	value, _, err := scheme.answer(c, next)
	if err != nil {
		l.giveUp(err)
		return false
	}
	l.value, l.sent = value, false
	l.tellChange(scheme.name())
	return true
}

// tellChange says that another scheme begins, in place of the one that was given up.
func (l *login) tellChange(next string) {
	if l.left != nil && l.changed != nil {
		l.left.Next = schemeNames[next]
		l.changed(*l.left)
	}
	l.left = nil
}

// giveUp removes the current scheme from those to try. A nil error means that the proxy
// refused the credentials.
func (l *login) giveUp(err error) {
	name := l.current.name()
	l.schemes = slices.DeleteFunc(l.schemes, func(s string) bool { return s == name })
	l.current, l.value, l.sent = nil, "", false
	var unset *LoginError
	if isUnset := errors.As(err, &unset) && unset.Unset; isUnset && l.failed != nil {
		return
	} else if !isUnset {
		l.left = &LoginChange{Scheme: schemeNames[name], Err: err}
	}
	if err != nil {
		l.failed = fmt.Errorf("%s: %w", schemeNames[name], err)
	}
}

// schemeNames are the schemes as people write them.
var schemeNames = map[string]string{
	AuthBasic: "Basic", AuthBearer: "Bearer", AuthDigest: "Digest", AuthNTLM: "NTLM", AuthNegotiate: "Negotiate",
}

// challenged processes a 407, or a 401 in its place. The connection can be used
// again if kept is true. The results report whether to send the request again, and
// whether to do so over the same connection.
func (l *login) challenged(reply *wire.Reply, next tunnel.Authority, kept bool) (again, sameConn bool) {
	if l == nil || l.rounds == maxLoginRounds || !wantsLogin(reply) {
		return false, false
	}
	l.rounds++
	offered := challenges(reply)
	if l.current != nil {
		began := l.remembered
		l.remembered = false
		err, again := l.continueScheme(offered, next, kept)
		switch {
		case again:
			return true, kept && (!l.connLost || l.current.bound())
		case began && l.current.name() != AuthBasic && l.current.name() != AuthBearer:
			// What the proxy wanted before is not what it wants now, perhaps, or its
			// nonce is too old for it: that is no refusal of the credentials.
			l.current, l.value, l.sent = nil, "", false
			l.memory.remember(l.key, nil)
		default:
			l.giveUp(err)
		}
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

// wantsLogin reports whether a reply asks for a login.
func wantsLogin(reply *wire.Reply) bool {
	return reply.Code == http.StatusProxyAuthRequired || reply.Code == http.StatusUnauthorized
}

// Reasons why a connection that carried a 407 could not carry the next request; "it" is
// the proxy.
var (
	errClosedBetween = errors.New("it closed the connection in the middle of the login")
	errSilentBetween = errors.New("it fell silent in the middle of the login")
)

// interrupted returns the failure of the current scheme, which authenticates a
// connection.
func (l *login) interrupted(why error) *LoginError {
	return &LoginError{Err: fmt.Errorf("%w by %s", why, schemeNames[l.current.name()]), Hint: keepAliveHint, Proxy: true}
}

// keepAliveHint is the hint for a scheme that authenticates a connection, if the
// connection does not last.
const keepAliveHint = "-H 'Proxy-Connection: keep-alive' may make the proxy, or what stands before it, keep the connection open; or name another scheme with --auth"

// connUseless is called if a connection that should have stayed open after a 407 was
// closed, or the proxy sent nothing more on it. It reports whether to send the request
// again, over another connection.
func (l *login) connUseless(next tunnel.Authority, why error) (again bool) {
	l.fellSilent = l.fellSilent || why == errSilentBetween
	switch {
	case !l.connLost:
		l.connLost = true // do not rely on such connections any more
		if l.current != nil && l.changed != nil {
			name := schemeNames[l.current.name()]
			l.changed(LoginChange{Scheme: name, Err: why, Next: name})
		}
		return true
	case l.current == nil || !l.current.bound():
		return false
	}
	l.giveUp(l.interrupted(why))
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
	return l.beginWith(&ntlmLogin{credentials: l.credentials, scheme: AuthNegotiate}, challenge{}, next)
}

// continueScheme answers a further challenge of the current scheme. It reports false
// if there is none, or if it means a refusal; the error then says why the scheme failed,
// nil = the proxy refused the credentials.
func (l *login) continueScheme(offered []challenge, next tunnel.Authority, kept bool) (failed error, again bool) {
	for _, c := range strongestFirst(offered) {
		if !c.is(l.current.name()) {
			continue
		}
		value, again, err := l.current.answer(c, next)
		switch {
		case err != nil || !again:
			return err, false
		case l.current.bound() && !kept && l.current.proves():
			return l.interrupted(errClosedBetween), false
		}
		l.value, l.sent = value, false
		return nil, true
	}
	return nil, false
}

// send returns the Proxy-Authorization value for a request that is sent now; "" = none.
func (l *login) send() string {
	if l == nil {
		return ""
	}
	l.sent = l.value != ""
	l.shown = l.shown || l.sent && l.current.proves()
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
		l.giveUp(err)
		return
	}
	l.value, l.sent = value, false
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
func (p *plainLogin) proves() bool                            { return true }
func (p *plainLogin) again() loginScheme                      { return &plainLogin{p.scheme, p.credentials, true} }
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
