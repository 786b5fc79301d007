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

// Default is where culvert serve listens unless told otherwise.
const Default = "http://127.0.0.1:3128"

// Spec is where a Server listens.
type Spec struct {
	Network string // "tcp" or "unix"
	Address string // host:port, or the socket's path
	TLS     bool   // clients speak TLS to the proxy; see NewTLSListener
	Bare    bool   // what is spoken is not HTTP: String names no scheme
}

// Parse parses http://HOST:PORT, https://HOST:PORT, HOST:PORT, :PORT or
// unix:PATH. Port 0 takes a free one.
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

// Host is the host of Address; "" = every address of this machine.
func (l Spec) Host() string {
	host, _, _ := net.SplitHostPort(l.Address)
	return host
}

// String returns the listener as the command line takes it.
func (l Spec) String() string {
	if l.Network == "unix" {
		return "unix:" + l.Address
	}
	if l.Bare {
		return l.Address
	}
	return URLPrefix(l.TLS) + l.Address
}

func URLPrefix(secure bool) string {
	if secure {
		return "https://"
	}
	return "http://"
}

// Listen binds the listener; the caller, or the Server it is given to, closes
// it. TLS is the caller's to add, by NewTLSListener. A unix socket gets mode 0600, and takes the place of one on which nobody
// listens any more.
func (l Spec) Listen(ctx context.Context) (net.Listener, error) {
	if l.Network == "unix" {
		return listenUnix(ctx, l.Address)
	}
	listener, err := sock.Listen(ctx, l.family(), l.Address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", l, neterr.Plain(err))
	}
	return listener, nil
}

// family keeps 0.0.0.0 to IPv4, which package net would open for IPv6 as well.
func (l Spec) family() string {
	if ap, err := netip.ParseAddrPort(l.Address); err == nil && ap.Addr().Is4() {
		return "tcp4"
	}
	return l.Network
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

// isDeadSocket reports whether nobody listens on the socket at path.
func isDeadSocket(ctx context.Context, path string) bool {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		conn.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// URL names a listener by the address really bound, as in
// http://127.0.0.1:3128.
func URL(l net.Listener) string {
	if l.Addr().Network() == "unix" {
		return "unix:" + l.Addr().String()
	}
	return URLPrefix(speaksTLS(l)) + l.Addr().String()
}

// BeyondThisMachine reports whether others than this machine's users may reach
// a listener, by the address really bound.
func BeyondThisMachine(l net.Listener) bool {
	switch addr := l.Addr().(type) {
	case *net.UnixAddr:
		return false
	case *net.TCPAddr:
		return !addr.IP.IsLoopback()
	}
	return true
}

// Temporary says whether accept may work again later: descriptors or memory
// ran out, the client was gone before it was accepted, or, as Linux has it, the
// new connection's own network error came out of accept.
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
