package ntlm

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
)

// vectors is what all examples of section 4.2.1 have in common.
var vectors = choice{
	challenge:  [8]byte(bytes.Repeat([]byte{0xaa}, 8)),
	sessionKey: [16]byte(bytes.Repeat([]byte{0x55}, 16)),
}

const vectorInfo = "02000c0044006f006d00610069006e0001000c005300650072007600650072000000" + "0000"

// challengeOf returns a challenge with these flags, and a server's description of itself.
func challengeOf(flags uint32, info string) []byte {
	description := unhex(info)
	m := make([]byte, 56)
	copy(m, signature)
	binary.LittleEndian.PutUint32(m[8:], 2)
	putField(m[12:], 0, 56)
	binary.LittleEndian.PutUint32(m[20:], flags)
	copy(m[24:], unhex("0123456789abcdef"))
	putField(m[40:], len(description), 56)
	return append(m, description...)
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// parts are those of an answer, in hexadecimal.
type parts struct {
	flags                            uint32
	lm, nt, domain, user, sessionKey string
}

func partsOf(t *testing.T, message []byte) parts {
	t.Helper()
	if len(message) < authenticateSize || string(message[:8]) != signature || message[8] != 3 {
		t.Fatalf("no message of type 3: %x", message)
	}
	at := func(i int) string { return hex.EncodeToString(field(message, message[i:i+8])) }
	return parts{binary.LittleEndian.Uint32(message[60:]), at(12), at(20), at(28), at(36), at(52)}
}

// The answers are those of sections 4.2.2, 4.2.3 and 4.2.4.
func TestAnswersOfTheStandard(t *testing.T) {
	const domain, user = "44006f006d00610069006e00", "5500730065007200"
	for _, tt := range []struct {
		name     string
		flags    uint32
		info     string
		version1 bool
		want     parts
	}{
		{"version 1", 0xe2028233 &^ flagVersion, "", true, parts{
			lm:         "67c43011f30298a2ad35ece64f16331c44bdbed927841f94",
			nt:         "67c43011f30298a2ad35ece64f16331c44bdbed927841f94",
			sessionKey: "518822b1b3f350c8958682ecbb3e3cb7"}},
		{"version 1 with a client's challenge", 0x820a8233, "", true, parts{
			lm: "aaaaaaaaaaaaaaaa00000000000000000000000000000000",
			nt: "7537f803ae367128ca458204bde7caf81e97ed2683267232"}},
		{"version 2", 0xe28a8233, vectorInfo, false, parts{
			lm: "86c35097ac9cec102554764a57cccc19aaaaaaaaaaaaaaaa",
			nt: "68cd0ab851e51c96aabc927bebef6a1c" + "0101000000000000" + "0000000000000000" + "aaaaaaaaaaaaaaaa" + "00000000" +
				vectorInfo + "00000000",
			sessionKey: "c5dad2544fc9799094ce1ce90bc9d03e"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := ParseChallenge(challengeOf(tt.flags, tt.info))
			if err != nil {
				t.Fatal(err)
			}
			message, err := c.authenticate(`Domain\User`, "Password", tt.version1, vectors)
			if err != nil {
				t.Fatal(err)
			}
			tt.want.domain, tt.want.user, tt.want.flags = domain, user, tt.flags&^(flagOEM|flagVersion)
			if got := partsOf(t, message); got != tt.want {
				t.Errorf("got  %+v,\nwant %+v", got, tt.want)
			}
		})
	}
}

// The sums are those of sections 4.2.2.1 to 4.2.4.1 and their key exchange keys.
func TestSumsOfTheStandard(t *testing.T) {
	c := &Challenge{server: [8]byte(unhex("0123456789abcdef"))}
	extended := &Challenge{server: c.server, flags: flagExtended}
	onlyLM := c.version1("Password", vectors) // without flagNTLM
	for _, tt := range []struct {
		name string
		got  []byte
		want string
	}{
		{"LMOWFv1", lmHash("Password"), "e52cac67419a9a224a3b108f3fa6cb6d"},
		{"NTOWFv1", ntHash("Password"), "a4f49c406510bdcab6824ee7c30fd852"},
		{"NTOWFv2", hmacMD5(ntHash("Password"), utf16le("USERDomain")), "0c868a403bfd7a93a3001ef22ef02e3f"},
		{"LM response", onlyLM.lm, "98def7b87f88aa5dafe2df779688a172def11c7d5ccdef13"},
		{"version 1's key", onlyLM.key, "d87262b0cde4b1cb7499becccdf10784"},
		{"extended version 1's key", extended.version1("Password", vectors).key, "eb93429a8bd952f8b89c55b87f475edc"},
	} {
		if got := hex.EncodeToString(tt.got); got != tt.want {
			t.Errorf("%s is %s, want %s", tt.name, got, tt.want)
		}
	}
}

// Challenges that other clients answer: without Unicode, with LM's key, with a key
// exchange that was not offered, short ones, and ones whose fields point anywhere.
func TestChallengesOfAllKinds(t *testing.T) {
	const old = "TlRMTVNTUAACAAAAAgACADAAAACGggEAc51AYVDgyNcAAAAAAAAAAG4AbgAyAAAAQ0MCAAQAQwBDAAEAEgBFAEwASQBTAEEAQgBFAFQASAA" +
		"EABgAYwBjAC4AaQBjAGUAZABlAHYALgBuAHUAAwAsAGUAbABpAHMAYQBiAGUAdABoAC4AYwBjAC4AaQBjAGUAZABlAHYALgBuAHUAAAAAAA=="
	decoded, err := base64.StdEncoding.DecodeString(old)
	if err != nil {
		t.Fatal(err)
	}
	wild := challengeOf(flagUnicode|flagNTLM|flagTargetInfo, "")
	putField(wild[12:], 500, 17)
	putField(wild[40:], 65535, 1<<32-1)
	timed := hex.EncodeToString([]byte{7, 0, 8, 0}) + "0102030405060708" + "00000000"
	for _, tt := range []struct {
		name    string
		message []byte
		user    string // as it is in the answer
		flags   uint32
		old     bool
		lm      string
	}{
		{"OEM and LM's key", decoded, "ada", 0x18206, true, ""},
		{"Unicode", challengeOf(0x820201, ""), "a\x00d\x00a\x00", 0x820201, false, ""},
		{"Unicode or OEM", challengeOf(flagUnicode|flagOEM|flagNTLM, ""), "a\x00d\x00a\x00", flagUnicode | flagNTLM, true, ""},
		{"no flag", challengeOf(0, ""), "ada", 0, true, ""},
		{"ends after the challenge", challengeOf(flagOEM|flagNTLM, "")[:32], "ada", flagOEM | flagNTLM, true, ""},
		{"ends before the description", challengeOf(flagOEM|flagExtended, "")[:40], "ada", flagOEM | flagExtended, false, ""},
		{"fields beyond the end", wild, "a\x00d\x00a\x00", flagUnicode | flagNTLM | flagTargetInfo, false, ""},
		{"a clock", challengeOf(flagUnicode, timed), "a\x00d\x00a\x00", flagUnicode, true, strings.Repeat("00", 24)},
		{"a torn description", challengeOf(flagUnicode, "0700080001"), "a\x00d\x00a\x00", flagUnicode, true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := ParseChallenge(tt.message)
			if err != nil {
				t.Fatal(err)
			}
			message, err := c.Authenticate("ada", "lovelace", false)
			if err != nil {
				t.Fatal(err)
			}
			got := partsOf(t, message)
			if got.user != hex.EncodeToString([]byte(tt.user)) || got.flags != tt.flags || c.Old() != tt.old {
				t.Errorf("user %s, flags %x, old %t; want %x, %x, %t", got.user, got.flags, c.Old(), tt.user, tt.flags, tt.old)
			}
			if len(got.nt) <= 48 || len(got.lm) != 48 || tt.lm != "" && got.lm != tt.lm {
				t.Errorf("not by version 2: LM %s, NT %s", got.lm, got.nt)
			}
			if (got.sessionKey != "") != (tt.flags&flagKeyExchange != 0) {
				t.Errorf("the session key is %q", got.sessionKey)
			}
		})
	}
}

// What is no challenge is called what it is.
func TestNoChallenge(t *testing.T) {
	for message, want := range map[string]string{
		"":                              "the challenge is not an NTLM message",
		"<html>":                        "the challenge is not an NTLM message",
		signature + "\x02\x00\x00\x00":  "the challenge ends after 12 bytes",
		string(Negotiate()):             "the challenge is an NTLM message of type 1, not 2",
		string(challengeOf(0, "")[:31]): "the challenge ends after 31 bytes",
	} {
		if _, err := ParseChallenge([]byte(message)); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", message, err, want)
		}
	}
}

// The domain stands before a backslash or a slash. A name with an at sign has none.
func TestDomainOfUser(t *testing.T) {
	c, err := ParseChallenge(challengeOf(flagOEM, ""))
	if err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string][2]string{
		`CORP\ada`: {"CORP", "ada"}, "CORP/ada": {"CORP", "ada"}, "ada": {"", "ada"}, "ada@corp.example": {"", "ada@corp.example"}, `\ada`: {"", "ada"},
	} {
		message, err := c.Authenticate(user, "x", false)
		if err != nil {
			t.Fatal(err)
		}
		if got := partsOf(t, message); got.domain != hex.EncodeToString([]byte(want[0])) || got.user != hex.EncodeToString([]byte(want[1])) {
			t.Errorf("%s: domain %s, user %s", user, got.domain, got.user)
		}
	}
	if _, err := c.Authenticate(strings.Repeat("a", 1<<16), "x", false); err == nil {
		t.Error("a name of 64 KiB fits into a message")
	}
}

// Whatever the challenge, there is an answer that can be parsed, or an error.
func FuzzChallenge(f *testing.F) {
	f.Add(challengeOf(0xe28a8233, vectorInfo), "CORP\\ada", true)
	f.Add(challengeOf(flagOEM, "")[:32], "ada", false)
	f.Add([]byte(signature), "", false)
	f.Fuzz(func(t *testing.T, message []byte, user string, version1 bool) {
		before := bytes.Clone(message)
		c, err := ParseChallenge(message)
		if err != nil {
			return
		}
		answer, err := c.Authenticate(user, "secret", version1)
		if !bytes.Equal(before, message) {
			t.Error("the message was changed")
		}
		if err != nil {
			return
		}
		for _, at := range []int{12, 20, 28, 36, 44, 52} {
			if length := binary.LittleEndian.Uint16(answer[at:]); length > 0 && field(answer, answer[at:at+8]) == nil {
				t.Errorf("the field at %d is not within the answer %x", at, answer)
			}
		}
	})
}
