package tunnel

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
)

// fakeResolver is a Resolver; the host comes to it without the root dot.
type fakeResolver func(ctx context.Context, host string) ([]netip.Addr, error)

func (f fakeResolver) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	return f(ctx, strings.TrimSuffix(host, "."))
}

// resolveTo resolves every name to the same addresses.
func resolveTo(addrs ...string) fakeResolver {
	return func(context.Context, string) ([]netip.Addr, error) {
		list := make([]netip.Addr, len(addrs))
		for i, a := range addrs {
			list[i] = netip.MustParseAddr(a)
		}
		return list, nil
	}
}

// neverResolve fails the test if anything is resolved.
func neverResolve(tb testing.TB) fakeResolver {
	return func(_ context.Context, host string) ([]netip.Addr, error) {
		tb.Errorf("%q was resolved", host)
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
}

// resolveLate resolves to 127.0.0.1 once released; asked is closed when the
// first question has come.
func resolveLate() (r fakeResolver, asked, release chan struct{}) {
	asked, release = make(chan struct{}), make(chan struct{})
	var once sync.Once
	return func(ctx context.Context, host string) ([]netip.Addr, error) {
		once.Do(func() { close(asked) })
		select {
		case <-release:
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		case <-ctx.Done():
			return nil, &net.DNSError{Err: ctx.Err().Error(), Name: host, IsTimeout: errors.Is(ctx.Err(), context.DeadlineExceeded)}
		}
	}, asked, release
}

var noSuchName = net.DNSError{Err: "no such host", IsNotFound: true}

// failToResolve makes every name fail to resolve.
func failToResolve(err net.DNSError) fakeResolver {
	return func(_ context.Context, host string) ([]netip.Addr, error) {
		err.Name = host
		return nil, &err
	}
}

// fixedResolver answers every name alike.
type fixedResolver struct {
	addrs []netip.Addr
	err   error
}

func (r fixedResolver) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return r.addrs, r.err
}
