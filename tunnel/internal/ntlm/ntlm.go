// Package ntlm makes the messages of an NTLM login ([MS-NLMP]): the client's first one,
// and its answer to the server's challenge, by version 2 or, where it must be, by
// version 1. It knows nothing of HTTP.
//
// Sections in comments are those of [MS-NLMP].
package ntlm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
)

// The flags of section 2.2.2.5 that matter here.
const (
	flagUnicode      = 1 << 0
	flagOEM          = 1 << 1
	flagTarget       = 1 << 2
	flagLMKey        = 1 << 7
	flagNTLM         = 1 << 9
	flagAlwaysSign   = 1 << 15
	flagExtended     = 1 << 19 // extended session security, once called NTLM2
	flagNonNTKey     = 1 << 22
	flagTargetInfo   = 1 << 23
	flagVersion      = 1 << 25
	flag128          = 1 << 29
	flagKeyExchange  = 1 << 30
	flag56           = 1 << 31
	signature        = "NTLMSSP\x00"
	negotiateSize    = 32
	minChallengeSize = 32 // up to the challenge; what follows is optional
	authenticateSize = 64 // without a version and a code for integrity
)

// Negotiate returns the client's first message (section 2.2.1.1). It holds no name.
func Negotiate() []byte {
	const flags = flagUnicode | flagOEM | flagTarget | flagNTLM | flagAlwaysSign | flagExtended | flagTargetInfo | flag128 | flag56
	m := make([]byte, negotiateSize)
	copy(m, signature)
	binary.LittleEndian.PutUint32(m[8:], 1)
	binary.LittleEndian.PutUint32(m[12:], flags)
	putField(m[16:], 0, negotiateSize) // the domain
	putField(m[24:], 0, negotiateSize) // the workstation
	return m
}

// Challenge is what a server sends after the client's first message (section 2.2.1.2).
type Challenge struct {
	flags  uint32
	server [8]byte
	info   []byte // about the server, to be repeated in an answer; nil = none
	time   []byte // by the server's clock, 8 bytes; nil = not told
}

// ParseChallenge parses a server's message. A message that ends after the challenge
// itself is valid, as it is for other clients, and what points beyond the message's end
// is taken for absent: neither is needed. The error says what the message is instead.
func ParseChallenge(message []byte) (*Challenge, error) {
	switch {
	case !bytes.HasPrefix(message, []byte(signature)):
		return nil, errors.New("the challenge is not an NTLM message")
	case len(message) < minChallengeSize:
		return nil, fmt.Errorf("the challenge ends after %d bytes", len(message))
	}
	if kind := binary.LittleEndian.Uint32(message[8:]); kind != 2 {
		return nil, fmt.Errorf("the challenge is an NTLM message of type %d, not 2", kind)
	}
	c := &Challenge{flags: binary.LittleEndian.Uint32(message[20:]), server: [8]byte(message[24:32])}
	if len(message) >= 48 {
		c.info = field(message, message[40:48])
	}
	c.time = timestamp(c.info)
	return c, nil
}

// Old reports whether the server may know version 1 only: it neither described itself,
// which an answer by version 2 repeats, nor took up extended session security.
func (c *Challenge) Old() bool { return c.flags&flagExtended == 0 && c.flags&flagTargetInfo == 0 }

// field returns the part of a message that eight bytes of it describe by length and
// offset (section 2.2.1); nil if it is empty or not within the message.
func field(message, description []byte) []byte {
	length, offset := uint64(binary.LittleEndian.Uint16(description)), uint64(binary.LittleEndian.Uint32(description[4:]))
	if length == 0 || offset+length > uint64(len(message)) {
		return nil
	}
	return message[offset : offset+length]
}

// putField writes the description of a part of a message.
func putField(description []byte, length, offset int) {
	binary.LittleEndian.PutUint16(description, uint16(length))
	binary.LittleEndian.PutUint16(description[2:], uint16(length))
	binary.LittleEndian.PutUint32(description[4:], uint32(offset))
}

// timestamp returns the server's time in its description of itself, a list of pairs
// (section 2.2.2.1); nil if there is none.
func timestamp(info []byte) []byte {
	const end, clock = 0, 7
	for len(info) >= 4 {
		id, length := binary.LittleEndian.Uint16(info), int(binary.LittleEndian.Uint16(info[2:]))
		info = info[4:]
		switch {
		case id == end || length > len(info):
			return nil
		case id == clock && length == 8:
			return info[:length]
		}
		info = info[length:]
	}
	return nil
}

// Authenticate returns the answer to a challenge (section 2.2.1.3), by version 1 or 2.
// The user is DOMAIN\name, DOMAIN/name, or a name alone, which may be name@domain. It
// fails only for a name that does not fit into a message.
func (c *Challenge) Authenticate(user, password string, version1 bool) ([]byte, error) {
	return c.authenticate(user, password, version1, newChoice())
}

func (c *Challenge) authenticate(user, password string, version1 bool, chosen choice) ([]byte, error) {
	domain := ""
	if i := strings.IndexAny(user, `\/`); i >= 0 {
		domain, user = user[:i], user[i+1:]
	}
	var a answer
	if version1 {
		a = c.version1(password, chosen)
	} else {
		a = c.version2(domain, user, password, chosen)
	}
	// The keys that these flags ask for are not made. They are about messages after
	// the login, of which HTTP has none.
	flags := c.flags &^ (flagVersion | flagLMKey | flagNonNTKey)
	text := func(s string) []byte { return []byte(s) }
	if flags&flagUnicode != 0 {
		flags &^= flagOEM
		text = utf16le
	}
	var sessionKey []byte
	if flags&flagKeyExchange != 0 {
		sessionKey = encryptKey(a.key, chosen.sessionKey)
	}
	m := make([]byte, authenticateSize)
	copy(m, signature)
	binary.LittleEndian.PutUint32(m[8:], 3)
	binary.LittleEndian.PutUint32(m[60:], flags)
	for _, part := range []struct {
		at      int
		content []byte
	}{{28, text(domain)}, {36, text(user)}, {44, nil}, {12, a.lm}, {20, a.nt}, {52, sessionKey}} {
		if len(part.content) > 1<<16-1 {
			return nil, errors.New("the name, or what the proxy tells of itself, is too long for a message")
		}
		putField(m[part.at:], len(part.content), len(m))
		m = append(m, part.content...)
	}
	return m, nil
}

// utf16le returns s in UTF-16, the lower byte first.
func utf16le(s string) []byte {
	var b []byte
	for _, unit := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, unit)
	}
	return b
}
