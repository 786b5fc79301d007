package client

import (
	"cmp"
	"encoding/base64"
	"errors"

	"culvert/tunnel"
	"culvert/tunnel/internal/ntlm"
)

// ntlmLogin implements NTLM over HTTP ([MS-NTHT]): the client's first message, a
// challenge, and the answer to it, all over one connection. A proxy that offers only
// Negotiate may accept the same messages under that name, since Windows clients send
// them if there is no ticket ([MS-SPNG], section 3.3.5.1).
type ntlmLogin struct {
	scheme          string             // AuthNegotiate; "" = under NTLM's own name
	credentials     tunnel.Credentials // DOMAIN\user, user@domain or a user alone
	version1        bool               // answer by version 1
	begun, answered bool
	old             bool // the challenge that was answered is one of version 1
}

func (n *ntlmLogin) name() string { return cmp.Or(n.scheme, AuthNTLM) }
func (n *ntlmLogin) bound() bool  { return true }
func (n *ntlmLogin) proves() bool { return n.answered }

func (n *ntlmLogin) again() loginScheme {
	return &ntlmLogin{credentials: n.credentials, scheme: n.scheme, version1: n.version1}
}

// value returns the Proxy-Authorization value for a message.
func (n *ntlmLogin) value(message []byte) string {
	scheme := "NTLM "
	if n.scheme != "" {
		scheme = "Negotiate "
	}
	return scheme + base64.StdEncoding.EncodeToString(message)
}

func (n *ntlmLogin) resume(tunnel.Authority) (string, error) {
	n.begun, n.answered, n.old = true, false, false
	return n.value(ntlm.Negotiate()), nil
}

func (n *ntlmLogin) answer(c challenge, next tunnel.Authority) (value string, again bool, err error) {
	switch {
	case n.answered:
		if n.old && !n.version1 {
			err = &LoginError{Err: errors.New("its NTLM challenge is of version 1, and was answered by version 2"),
				Hint: `for NTLM the user may have to be DOMAIN\user; if they are right, the proxy may know version 1 only: --auth ntlm-v1 answers by that, which is weak`, Proxy: true}
		}
		return "", false, err
	case c.rest == "" && n.begun: // a challenge without a message is a refusal
		return "", false, &LoginError{Err: errors.New("it did not answer NTLM's first message"),
			Hint: "NTLM does not work there: tell the proxy's administrator", Proxy: true}
	case !n.begun:
		value, err = n.resume(next)
		return value, true, err
	}
	message, err := base64.StdEncoding.DecodeString(c.rest)
	if err != nil {
		return "", false, errors.New("the challenge is not base64")
	}
	parsed, err := ntlm.ParseChallenge(message)
	if err != nil {
		return "", false, err
	}
	answer, err := parsed.Authenticate(n.credentials.User, n.credentials.Password, n.version1)
	if err != nil {
		return "", false, err
	}
	n.answered, n.old = true, parsed.Old()
	return n.value(answer), true, nil
}
