package proxy

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"
)

// stuckResolver answers for one name only once it is released, and for every
// other one at once.
type stuckResolver struct {
	name           string // as it is asked for
	asked, release chan struct{}
}

func (r stuckResolver) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	if host == r.name {
		r.asked <- struct{}{}
		select {
		case <-r.release:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}

// Issue 3, "Faults": a slow DNS never holds others up. Nobody whose name
// resolves waits for a hundred whose name does not yet, and those are served
// when it does.
func TestSlowDNSHoldsNobodyUp(t *testing.T) {
	const slow, quick = 100, 100
	r := stuckResolver{"slow.test.", make(chan struct{}, slow), make(chan struct{})}
	ts := startServer(t, &Server{Resolver: r, ConnectTimeout: testkit.Patience})
	echo := tunneltest.Start(t, tunneltest.Echo)
	waiting := make([]net.Conn, slow)
	for i := range waiting {
		waiting[i] = ts.Dial()
		testkit.Send(t, waiting[i], proxytest.ConnectHead("slow.test:"+echo.Port())+"late")
	}
	for range waiting {
		testkit.Receive(t, "the resolver", r.asked)
	}
	for range quick {
		conn := ts.Open("quick.test:" + echo.Port())
		testkit.Send(t, conn, "soon")
		testkit.Expect(t, conn, "soon")
	}
	close(r.release)
	for _, conn := range waiting {
		testkit.Expect(t, conn, established+"late")
	}
}
