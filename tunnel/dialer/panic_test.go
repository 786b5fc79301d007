package dialer

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"

	"culvert/tunnel/internal/panics"
	"culvert/tunnel/internal/testkit"
)

// A panic of an attempt to connect, which is on a goroutine of its own, is an error of the
// dial.
func TestPanicIsAnError(t *testing.T) {
	t.Parallel()
	d := Dialer{
		Resolver: testkit.FakeResolver(func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}, nil
		}),
		Connect: func(context.Context, netip.AddrPort) (net.Conn, error) { panic("a bug") },
	}
	conn, _, e := d.Dial(t.Context(), testkit.MustAuthority(t, "a.test:1"))
	if conn != nil || e == nil || !errors.Is(e.Err, panics.Err) {
		t.Errorf("%v, %v", conn, e)
	}
}
