package client

import (
	"encoding/base64"
	"errors"

	"culvert/tunnel"
	"culvert/tunnel/internal/wire"
)

// Negotiator is one conversation of the Negotiate scheme (RFC 4559) with one
// proxy, by whatever mechanism.
type Negotiator interface {
	// Start makes the first token, anew each time it is called. An error that is
	// a *LoginError says what a person can do.
	Start() ([]byte, error)

	// Verify checks the token that came with the 2xx that Start's opened.
	Verify(token []byte) error
}

// LoginError is why there is nothing to log in with, and what to do about it.
type LoginError struct {
	Err  error
	Hint string // "" = nothing

	// Unset reports that nobody set such a login up on this machine: it is not
	// worth a word where the proxy offers another.
	Unset bool
}

// Error is the cause's.
func (e *LoginError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *LoginError) Unwrap() error { return e.Err }

// negotiateLogin is Negotiate in one round, as Kerberos has it: each request has
// a token of its own, whatever the connection.
type negotiateLogin struct {
	newNegotiator func() (Negotiator, error)
	negotiator    Negotiator // nil = not asked yet
	answered      bool
}

func (n *negotiateLogin) name() string { return AuthNegotiate }
func (n *negotiateLogin) bound() bool  { return false }

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

// verify has what the proxy shows of itself in its 2xx checked (RFC 4559,
// section 4.1). Many show nothing.
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
