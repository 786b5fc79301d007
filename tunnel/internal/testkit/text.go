package testkit

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// Basic returns the field line of a Basic login to a proxy.
func Basic(user, password string) string {
	return "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// Unhex decodes hex. It ignores spaces and exclamation marks, and panics if s is invalid.
func Unhex(s string) []byte {
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", "!", "").Replace(s))
	if err != nil {
		panic(err)
	}
	return b
}

// LenientIPv4 are spellings of IPv4 addresses, and names like them, that the resolver of some
// systems accepts as addresses.
var LenientIPv4 = []string{
	"2130706433", "0x7f000001", "0X7F000001", "017700000001", // one number
	"127.1", "127.0.1", "0x7f.1", "0177.1", // short
	"0177.0.0.1", "0x7f.0.0.1", "127.0.0.0x1", "127.0.0.01", "127.000.000.001", // four parts
	"127.0.0.1.1", "256.0.0.1", "1.2.3.4.5", "1", "0", "0x", "example.1", "example.0x7f",
	"127.1.", "2130706433.",
}
