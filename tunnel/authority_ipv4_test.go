package tunnel_test

import (
	"errors"
	"testing"

	"culvert/tunnel"
	"culvert/tunnel/internal/testkit"
)

// IPv4 in decimal, octal, hexadecimal or short form is neither a name nor an address.
func TestParseAuthorityRefusesLenientIPv4(t *testing.T) {
	for _, host := range testkit.LenientIPv4 {
		if a, err := tunnel.ParseAuthority(host + ":80"); !errors.Is(err, tunnel.ErrNumericHost) {
			t.Errorf("ParseAuthority(%q) = %q, %v; want %v", host+":80", a, err, tunnel.ErrNumericHost)
		}
	}
}
