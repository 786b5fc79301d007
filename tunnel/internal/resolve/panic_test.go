package resolve

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"culvert/tunnel/internal/panics"
)

// panicking panics when it is asked for a network.
type panicking string

func (p panicking) LookupNetIP(_ context.Context, network, _ string) ([]netip.Addr, error) {
	if network == string(p) || p == "ip" {
		panic("a bug")
	}
	return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
}

// A panic of one of the two look-ups is that one's error.
func TestPanicIsAnError(t *testing.T) {
	t.Parallel()
	if _, err := routed.apart(t.Context(), panicking("ip"), "ip", "a.test."); !errors.Is(err, panics.Err) {
		t.Errorf("error %v", err)
	}
	f, err := routed.apart(t.Context(), panicking("ip6"), "ip", "a.test.")
	if err != nil || fmt.Sprint(f.Addrs) != "[192.0.2.1]" {
		t.Fatalf("%v, %v", f, err)
	}
	f.Close()
}
