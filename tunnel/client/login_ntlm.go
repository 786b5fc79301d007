package client

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"

	"culvert/tunnel"

	"github.com/Azure/go-ntlmssp"
)

// ntlmLogin implements NTLM over HTTP ([MS-NTHT]), version 2: the client's first
// message, a challenge, and the answer to it, all over one connection. A proxy that
// offers only Negotiate may accept the same messages under that name, since Windows
// clients send them if there is no ticket ([MS-SPNG], section 3.3.5.1).
type ntlmLogin struct {
	scheme          string             // AuthNegotiate; "" = under NTLM's own name
	credentials     tunnel.Credentials // DOMAIN\user, user@domain or a user alone
	begun, answered bool
}

func (n *ntlmLogin) name() string { return cmp.Or(n.scheme, AuthNTLM) }
func (n *ntlmLogin) bound() bool  { return true }

// value returns the Proxy-Authorization value for a message.
func (n *ntlmLogin) value(message []byte) string {
	scheme := "NTLM "
	if n.scheme != "" {
		scheme = "Negotiate "
	}
	return scheme + base64.StdEncoding.EncodeToString(message)
}

func (n *ntlmLogin) resume(next tunnel.Authority) (string, error) {
	*n = ntlmLogin{credentials: n.credentials, scheme: n.scheme}
	value, _, err := n.answer(challenge{}, next)
	return value, err
}

func (n *ntlmLogin) answer(c challenge, _ tunnel.Authority) (string, bool, error) {
	if c.rest == "" || !n.begun {
		if n.answered || n.begun && c.rest == "" {
			return "", false, nil // a challenge without a message is a refusal
		}
		n.begun = true
		hello, err := ntlmssp.NewNegotiateMessage("", "")
		return n.value(hello), true, err
	}
	answered := n.answered
	n.answered = true
	message, err := base64.StdEncoding.DecodeString(c.rest)
	if err != nil || answered {
		return "", false, err
	}
	answer, err := ntlmssp.NewAuthenticateMessage(mendNTLM(message), n.credentials.User, n.credentials.Password, nil)
	return n.value(answer), true, err
}

// mendNTLM clears the fields of a challenge that point beyond its end ([MS-NLMP],
// section 2.2.1.2), as those of Squid's test helper do. The library rejects them, and
// neither the target's name nor its attributes are needed.
func mendNTLM(message []byte) []byte {
	const name, info, fieldSize = 12, 40, 8
	for _, at := range []int{name, info} {
		if len(message) < at+fieldSize {
			break
		}
		field := message[at : at+fieldSize]
		length, offset := uint64(binary.LittleEndian.Uint16(field)), uint64(binary.LittleEndian.Uint32(field[4:]))
		if offset+length > uint64(len(message)) {
			clear(field)
		}
	}
	return message
}
