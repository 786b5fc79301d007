package client

import (
	"encoding/base64"
	"errors"

	"culvert/tunnel"
	"culvert/tunnel/internal/wire"
)

// Negotiator is one authentication by the Negotiate scheme (RFC 4559) to one proxy, by
// any mechanism.
type Negotiator interface {
	// Start returns the first token, a new one each time it is called. An error that
	// is a *LoginError says what the user can do.
	Start() ([]byte, error)

	// Verify checks the token in the 2xx reply to a request with Start's token.
	Verify(token []byte) error
}

// LoginError says why there is nothing to log in with, and what to do about it.
type LoginError struct {
	Err  error
	Hint string // what to do; "" = no hint

	// Unset reports that no such login is set up on this machine. It need not be
	// mentioned if the proxy offers another scheme.
	Unset bool

	// Proxy reports that the proxy made the login impossible, not this machine.
	Proxy bool
}

// Error returns the message of Err.
func (e *LoginError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *LoginError) Unwrap() error { return e.Err }

// negotiateLogin implements Negotiate in one round, as it is with Kerberos: each
// request has its own token, over any connection.
type negotiateLogin struct {
	newNegotiator func() (Negotiator, error)
	negotiator    Negotiator // nil = not created yet
	answered      bool
}

func (n *negotiateLogin) name() string { return AuthNegotiate }
func (n *negotiateLogin) bound() bool  { return false }
func (n *negotiateLogin) proves() bool { return true }

func (n *negotiateLogin) again() loginScheme {
	return &negotiateLogin{newNegotiator: n.newNegotiator, answered: true}
}

func (n *negotiateLogin) answer(c challenge, next tunnel.Authority) (string, bool, error) {
	if n.answered { // a second challenge is a refusal
		return "", false, nil
	}
	n.answered = true
	value, err := n.resume(next)
	return value, true, err
}

func (n *negotiateLogin) resume(tunnel.Authority) (value string, err error) {
	if n.negotiator == nil {
		if n.negotiator, err = n.newNegotiator(); err != nil {
			return "", err
		}
	}
	token, err := n.negotiator.Start()
	if err != nil {
		return "", err
	}
	return "Negotiate " + base64.StdEncoding.EncodeToString(token), nil
}

// verify checks the proxy's token in its 2xx reply (RFC 4559, section 4.1). Many
// proxies send none, which is no error.
func (l *login) verify(reply *wire.Reply) error {
	if l == nil {
		return nil
	}
	n, ok := l.current.(*negotiateLogin)
	if !ok || !l.sent {
		return nil
	}
	for _, c := range challenges(reply) {
		if !c.is(AuthNegotiate) || c.rest == "" {
			continue
		}
		token, err := base64.StdEncoding.DecodeString(c.rest)
		if err != nil {
			return errors.New("the proxy's Negotiate token is not base64")
		}
		return n.negotiator.Verify(token)
	}
	return nil
}
