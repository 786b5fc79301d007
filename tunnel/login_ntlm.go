package tunnel

import (
	"encoding/base64"
	"encoding/binary"

	"github.com/Azure/go-ntlmssp"
)

// ntlmLogin is NTLM over HTTP ([MS-NTHT]), version 2: a message of ours, a
// challenge, and the answer to it, all over one connection.
type ntlmLogin struct {
	credentials Credentials // DOMAIN\user, user@domain or a user alone
	begun, said bool
}

func (n *ntlmLogin) name() string { return AuthNTLM }
func (n *ntlmLogin) bound() bool  { return true }

func (n *ntlmLogin) resume(next Authority) (string, error) {
	*n = ntlmLogin{credentials: n.credentials}
	value, _, err := n.answer(challenge{}, next)
	return value, err
}

func (n *ntlmLogin) answer(c challenge, _ Authority) (string, bool, error) {
	if c.rest == "" || !n.begun {
		if n.said || n.begun && c.rest == "" {
			return "", false, nil // refused, as the scheme alone tells
		}
		n.begun = true
		hello, err := ntlmssp.NewNegotiateMessage("", "")
		return "NTLM " + base64.StdEncoding.EncodeToString(hello), true, err
	}
	said := n.said
	n.said = true
	message, err := base64.StdEncoding.DecodeString(c.rest)
	if err != nil || said {
		return "", false, err
	}
	answer, err := ntlmssp.NewAuthenticateMessage(mendNTLM(message), n.credentials.User, n.credentials.Password, nil)
	return "NTLM " + base64.StdEncoding.EncodeToString(answer), true, err
}

// mendNTLM empties the fields of a challenge that lead out of it ([MS-NLMP],
// section 2.2.1.2), as those of squid's trial helper do: the library refuses
// them, and neither the target's name nor what is told of it is needed.
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
