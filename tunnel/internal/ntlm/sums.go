package ntlm

import (
	"crypto/des"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/rc4"
	"encoding/binary"
	"strings"
	"time"

	"golang.org/x/crypto/md4" //lint:ignore SA1019 NTLM has no other hash
)

// choice is what the client chooses for an answer.
type choice struct {
	challenge  [8]byte
	sessionKey [16]byte
	time       [8]byte // if the server tells none
}

func newChoice() choice {
	var c choice
	rand.Read(c.challenge[:])         // never fails
	rand.Read(c.sessionKey[:])        // likewise
	const to1970 = 116444736000000000 // from 1601, in units of 100 ns
	binary.LittleEndian.PutUint64(c.time[:], uint64(time.Now().UnixNano()/100+to1970))
	return c
}

// answer is what proves to the server that the client knows the password.
type answer struct {
	lm, nt []byte
	key    []byte // by which a session key is encrypted, KeyExchangeKey
}

// version2 answers by version 2 (section 3.3.2).
func (c *Challenge) version2(domain, user, password string, chosen choice) answer {
	hash := hmacMD5(ntHash(password), utf16le(strings.ToUpper(user)+domain))
	now := chosen.time[:]
	if c.time != nil {
		now = c.time
	}
	blob := []byte{1, 1, 0, 0, 0, 0, 0, 0}
	blob = append(blob, now...)
	blob = append(blob, chosen.challenge[:]...)
	blob = append(blob, 0, 0, 0, 0)
	blob = append(blob, c.info...)
	blob = append(blob, 0, 0, 0, 0)
	proof := hmacMD5(hash, c.server[:], blob)
	a := answer{nt: append(proof, blob...), key: hmacMD5(hash, proof)}
	if c.time != nil { // section 3.1.5.1.2: such a server wants no LMv2
		a.lm = make([]byte, 24)
		return a
	}
	a.lm = append(hmacMD5(hash, c.server[:], chosen.challenge[:]), chosen.challenge[:]...)
	return a
}

// version1 answers by version 1 (section 3.3.1). The hash for LAN Manager, which is
// weaker still, is shown only to a server that knows nothing else.
func (c *Challenge) version1(password string, chosen choice) answer {
	hash := ntHash(password)
	base := md4Sum(hash)
	if c.flags&flagExtended != 0 {
		sum := md5.Sum(append(c.server[:], chosen.challenge[:]...))
		lm := append(chosen.challenge[:], make([]byte, 16)...)
		return answer{lm: lm, nt: encryptThrice(hash, sum[:8]), key: hmacMD5(base, c.server[:], lm[:8])}
	}
	a := answer{nt: encryptThrice(hash, c.server[:]), key: base}
	if a.lm = a.nt; c.flags&flagNTLM == 0 {
		a.lm = encryptThrice(lmHash(password), c.server[:])
	}
	return a
}

// ntHash is NTOWFv1.
func ntHash(password string) []byte { return md4Sum(utf16le(password)) }

// lmHash is LMOWFv1, of the first 14 bytes of the password.
func lmHash(password string) []byte {
	padded := make([]byte, 14)
	copy(padded, strings.ToUpper(password))
	const text = "KGS!@#$%"
	return append(encrypt(padded[:7], []byte(text)), encrypt(padded[7:], []byte(text))...)
}

// encryptThrice is DESL: data, encrypted by each third of a hash of 16 bytes.
func encryptThrice(hash, data []byte) []byte {
	keys := make([]byte, 21)
	copy(keys, hash)
	var out []byte
	for ; len(keys) > 0; keys = keys[7:] {
		out = append(out, encrypt(keys[:7], data)...)
	}
	return out
}

// encrypt is DES of eight bytes of data by a key of 56 bits.
func encrypt(key, data []byte) []byte {
	var bits uint64
	for _, b := range key {
		bits = bits<<8 | uint64(b)
	}
	var spread [8]byte // seven bits in each byte, and one of parity, which DES ignores
	for i := range spread {
		spread[i] = byte(bits>>(49-7*i)) << 1
	}
	block, err := des.NewCipher(spread[:])
	if err != nil {
		panic(err) // for a key of another length only
	}
	out := make([]byte, 8)
	block.Encrypt(out, data)
	return out
}

// encryptKey encrypts a session key for the server.
func encryptKey(key []byte, sessionKey [16]byte) []byte {
	stream, err := rc4.NewCipher(key)
	if err != nil {
		panic(err) // for an empty key only
	}
	out := make([]byte, len(sessionKey))
	stream.XORKeyStream(out, sessionKey[:])
	return out
}

func hmacMD5(key []byte, data ...[]byte) []byte {
	h := hmac.New(md5.New, key)
	for _, d := range data {
		h.Write(d)
	}
	return h.Sum(nil)
}

func md4Sum(data []byte) []byte {
	h := md4.New()
	h.Write(data)
	return h.Sum(nil)
}
