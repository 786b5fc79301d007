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

// FakeResolver is a resolver in one function. It gets the host without a trailing dot.
type FakeResolver func(ctx context.Context, host string) ([]netip.Addr, error)

// LookupNetIP implements dialer.Resolver.
func (f FakeResolver) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	return f(ctx, strings.TrimSuffix(host, "."))
}

// ResolveTo returns a resolver that has the same addresses for every name.
func ResolveTo(addrs ...string) FakeResolver {
	return func(context.Context, string) ([]netip.Addr, error) {
		list := make([]netip.Addr, len(addrs))
		for i, a := range addrs {
			list[i] = netip.MustParseAddr(a)
		}
		return list, nil
	}
}

// NeverResolve returns a resolver that fails the test when it is called.
func NeverResolve(tb testing.TB) FakeResolver {
	return func(_ context.Context, host string) ([]netip.Addr, error) {
		tb.Errorf("%q was resolved", host)
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
}

// ResolveLate returns a resolver that waits until release is closed, and then returns
// 127.0.0.1. asked is closed at its first call.
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

// NoSuchName is the error of a name that does not exist, for FailToResolve.
var NoSuchName = net.DNSError{Err: "no such host", IsNotFound: true}

// FailToResolve returns a resolver that returns err for every name, with the name in it.
func FailToResolve(err net.DNSError) FakeResolver {
	return func(_ context.Context, host string) ([]netip.Addr, error) {
		err.Name = host
		return nil, &err
	}
}

// FailingResolver is a resolver that returns Err, as it is, for every name.
type FailingResolver struct{ Err error }

// LookupNetIP implements dialer.Resolver.
func (r FailingResolver) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return nil, r.Err
}
