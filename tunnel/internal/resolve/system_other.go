//go:build !linux

package resolve

import (
	"context"
	"net"
	"net/netip"
)

// system asks the system's own resolver.
type system struct{ r *Resolver }

// most is how many look-ups are made at once. Each holds a thread until it ends,
// however long ago those who asked have left.
const most = 32

var slots = make(chan struct{}, most)

// LookupNetIP implements Source.
func (system) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	type result struct {
		addrs []netip.Addr
		err   error
	}
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-slots }()
		addrs, err := net.DefaultResolver.LookupNetIP(context.WithoutCancel(ctx), network, host)
		done <- result{addrs, err}
	}()
	select {
	case r := <-done:
		return r.addrs, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
