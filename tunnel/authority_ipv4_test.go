package tunnel_test

import (
	"errors"
	"testing"

	"culvert/tunnel"
	"culvert/tunnel/internal/testkit"
)

// RULES 20: such hosts are neither names nor addresses.
func TestParseAuthorityRefusesLenientIPv4(t *testing.T) {
	for _, host := range testkit.LenientIPv4 {
		if a, err := tunnel.ParseAuthority(host + ":80"); !errors.Is(err, tunnel.ErrNumericHost) {
			t.Errorf("ParseAuthority(%q) = %q, %v; want %v", host+":80", a, err, tunnel.ErrNumericHost)
		}
	}
}
