package tunnel

import (
	"errors"
	"testing"
)

// RULES 20: neither names nor addresses.
func TestParseAuthorityRefusesLenientIPv4(t *testing.T) {
	for _, host := range lenientIPv4 {
		if a, err := ParseAuthority(host + ":80"); !errors.Is(err, errNumericHost) {
			t.Errorf("ParseAuthority(%q) = %q, %v; want %v", host+":80", a, err, errNumericHost)
		}
	}
}
