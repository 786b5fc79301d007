package testkit

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
)

// FakeResolver is a Resolver; the host comes to it without the root dot.
type FakeResolver func(ctx context.Context, host string) ([]netip.Addr, error)

func (f FakeResolver) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	return f(ctx, strings.TrimSuffix(host, "."))
}

// ResolveTo resolves every name to the same addresses.
func ResolveTo(addrs ...string) FakeResolver {
	return func(context.Context, string) ([]netip.Addr, error) {
		list := make([]netip.Addr, len(addrs))
		for i, a := range addrs {
			list[i] = netip.MustParseAddr(a)
		}
		return list, nil
	}
}

// NeverResolve fails the test if anything is resolved.
func NeverResolve(tb testing.TB) FakeResolver {
	return func(_ context.Context, host string) ([]netip.Addr, error) {
		tb.Errorf("%q was resolved", host)
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
}

// ResolveLate resolves to 127.0.0.1 once released; asked is closed when the
// first question has come.
func ResolveLate() (r FakeResolver, asked, release chan struct{}) {
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

// NoSuchName is the error of a name that does not exist.
var NoSuchName = net.DNSError{Err: "no such host", IsNotFound: true}

// FailToResolve makes every name fail to resolve.
func FailToResolve(err net.DNSError) FakeResolver {
	return func(_ context.Context, host string) ([]netip.Addr, error) {
		err.Name = host
		return nil, &err
	}
}

// FailingResolver returns Err for every name.
type FailingResolver struct{ Err error }

func (r FailingResolver) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return nil, r.Err
}
