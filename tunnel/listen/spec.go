// Package listen is where a proxy accepts connections: it parses the place to listen
// at, binds TCP and unix sockets, and adds TLS with certificates from files, made in
// memory, or from an ACME authority.
//
// The package accepts and says who may reach a listener. It reads no request, and
// imports nothing of this module but package tunnel and packages below it.
package listen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"culvert/tunnel"
	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/sock"
)

// Default is the place where culvert serve listens if none is given.
const Default = "http://127.0.0.1:3128"

// Spec is a place to listen at.
type Spec struct {
	Network string // "tcp" or "unix"
	Address string // HOST:PORT, or the path of the socket
	TLS     bool   // clients speak TLS; see NewTLS
	Bare    bool   // clients do not speak HTTP, so String returns no scheme
}

// Parse parses http://HOST:PORT, https://HOST:PORT, HOST:PORT, :PORT or
// unix:PATH. Port 0 means any free port.
func Parse(s string) (Spec, error) {
	if strings.HasPrefix(s, "unix:") {
		hop, err := tunnel.ParseHop(s)
		return Spec{Network: "unix", Address: hop.Path}, err
	}
	address, secure := s, false
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		secure = strings.EqualFold(scheme, "https")
		if !secure && !strings.EqualFold(scheme, "http") {
			return Spec{}, fmt.Errorf("the scheme %q is not supported: use http://HOST:PORT, https://HOST:PORT or unix:PATH", scheme)
		}
		address = strings.TrimSuffix(rest, "/")
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return Spec{}, errors.New("a listener is HOST:PORT, http://HOST:PORT, https://HOST:PORT or unix:PATH (IPv6 in brackets)")
	}
	if port != "0" {
		if _, err := tunnel.ParsePort(port); err != nil {
			return Spec{}, err
		}
	}
	if strings.ContainsAny(host, "/?#@ ") {
		return Spec{}, errors.New("the host holds a character that no host has")
	}
	return Spec{Network: "tcp", Address: net.JoinHostPort(host, port), TLS: secure}, nil
}

// Host returns the host of Address; "" means every address of this machine.
func (s Spec) Host() string {
	host, _, _ := net.SplitHostPort(s.Address)
	return host
}

// String returns the Spec in the form that Parse takes.
func (s Spec) String() string {
	if s.Network == "unix" {
		return "unix:" + s.Address
	}
	if s.Bare {
		return s.Address
	}
	return URLPrefix(s.TLS) + s.Address
}

// URLPrefix returns "https://" for a listener that speaks TLS, and "http://" for others.
func URLPrefix(secure bool) string {
	if secure {
		return "https://"
	}
	return "http://"
}

// Listen binds the listener. The caller, or the server that it is given to, closes it.
// It does not speak TLS: see NewTLS. A unix socket has mode 0600, and replaces a socket
// at its path on which no process listens any more.
func (s Spec) Listen(ctx context.Context) (net.Listener, error) {
	if s.Network == "unix" {
		return listenUnix(ctx, s.Address)
	}
	listener, err := sock.Listen(ctx, s.family(), s.Address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", s, neterr.Plain(err))
	}
	return listener, nil
}

// ListenEarly is Listen for a TCP address that this machine does not have, and may get
// later: Linux accepts connections from then on. Elsewhere it is an error. It is for a
// service that is started while the network is being set up.
func (s Spec) ListenEarly(ctx context.Context) (net.Listener, error) {
	return sock.ListenEarly(ctx, s.family(), s.Address)
}

// family returns the network to listen on. It is "tcp4" for 0.0.0.0, which package net
// would open for IPv6 as well.
func (s Spec) family() string {
	if ap, err := netip.ParseAddrPort(s.Address); err == nil && ap.Addr().Is4() {
		return "tcp4"
	}
	return s.Network
}

func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := listenPrivate(ctx, config, path)
	if errors.Is(err, syscall.EADDRINUSE) {
		switch info, failed := os.Lstat(path); {
		case failed == nil && info.Mode()&os.ModeSocket == 0:
			err = fmt.Errorf("what is there is no socket: %w", os.ErrExist)
		case failed == nil && isDeadSocket(ctx, path):
			if err = os.Remove(path); err == nil {
				listener, err = listenPrivate(ctx, config, path)
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot listen on unix:%s: %w", path, neterr.Plain(err))
	}
	return listener, nil
}

// isDeadSocket reports whether no process listens on the socket at path.
func isDeadSocket(ctx context.Context, path string) bool {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		conn.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// URL returns the URL of a listener, made of the address that it is bound to, as
// http://127.0.0.1:3128.
func URL(l net.Listener) string {
	if l.Addr().Network() == "unix" {
		return "unix:" + l.Addr().String()
	}
	return URLPrefix(SpeaksTLS(l)) + l.Addr().String()
}

// BeyondThisMachine reports whether the address that a listener is bound to can be
// reached from other machines.
func BeyondThisMachine(l net.Listener) bool {
	switch addr := l.Addr().(type) {
	case *net.UnixAddr:
		return false
	case *net.TCPAddr:
		return !addr.IP.IsLoopback()
	}
	return true
}

// Temporary reports whether Accept may succeed later in spite of err: descriptors or
// memory ran out, the client was gone before it was accepted, or, on Linux, Accept
// returned a network error of the new connection.
func Temporary(err error) bool {
	for _, errno := range []syscall.Errno{
		syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EPROTO, syscall.EPERM,
		syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.EHOSTUNREACH,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	var op *net.OpError
	return errors.As(err, &op) && op.Temporary()
}
