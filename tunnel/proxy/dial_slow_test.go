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

// stuckResolver answers for one name once it is released, and for others at once.
type stuckResolver struct {
	name           string // as the Server asks for it
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

// Issue 3, "Faults": slow DNS never delays others. While a hundred clients wait for a
// name to resolve, others are served, and the hundred are when it resolves.
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
