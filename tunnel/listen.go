package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
)

// DefaultListen is where culvert serve listens unless told otherwise.
const DefaultListen = "http://127.0.0.1:3128"

// ListenSpec is where a Server listens.
type ListenSpec struct {
	Network string // "tcp" or "unix"
	Address string // host:port, or the socket's path
	TLS     bool   // clients speak TLS to the proxy; see NewTLSListener
	Bare    bool   // what is spoken is not HTTP: String names no scheme
}

// ParseListen parses http://HOST:PORT, https://HOST:PORT, HOST:PORT, :PORT or
// unix:PATH. Port 0 takes a free one.
func ParseListen(s string) (ListenSpec, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		hop, err := parseUnixHop(path)
		return ListenSpec{Network: "unix", Address: hop.Path}, err
	}
	address, secure := s, false
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		secure = strings.EqualFold(scheme, "https")
		if !secure && !strings.EqualFold(scheme, "http") {
			return ListenSpec{}, fmt.Errorf("the scheme %q is not supported: use http://HOST:PORT, https://HOST:PORT or unix:PATH", scheme)
		}
		address = strings.TrimSuffix(rest, "/")
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return ListenSpec{}, errors.New("a listener is HOST:PORT, http://HOST:PORT, https://HOST:PORT or unix:PATH (IPv6 in brackets)")
	}
	if port != "0" {
		if _, err := parsePort(port); err != nil {
			return ListenSpec{}, err
		}
	}
	if strings.ContainsAny(host, "/?#@ ") {
		return ListenSpec{}, errors.New("the host holds a character that no host has")
	}
	return ListenSpec{Network: "tcp", Address: net.JoinHostPort(host, port), TLS: secure}, nil
}

// Host is the host of Address; "" = every address of this machine.
func (l ListenSpec) Host() string {
	host, _, _ := net.SplitHostPort(l.Address)
	return host
}

// String returns the listener as the command line takes it.
func (l ListenSpec) String() string {
	if l.Network == "unix" {
		return "unix:" + l.Address
	}
	if l.Bare {
		return l.Address
	}
	return httpScheme(l.TLS) + l.Address
}

func httpScheme(secure bool) string {
	if secure {
		return "https://"
	}
	return "http://"
}

// Listen binds the listener; the caller, or the Server it is given to, closes
// it. TLS is the caller's to add, by NewTLSListener. A unix socket gets mode 0600, and takes the place of one on which nobody
// listens any more.
func (l ListenSpec) Listen(ctx context.Context) (net.Listener, error) {
	if l.Network == "unix" {
		return listenUnix(ctx, l.Address)
	}
	listener, err := listenTCP(ctx, l.family(), l.Address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", l, plainError(err))
	}
	return listener, nil
}

// family keeps 0.0.0.0 to IPv4, which package net would open for IPv6 as well.
func (l ListenSpec) family() string {
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
		return nil, fmt.Errorf("cannot listen on unix:%s: %w", path, plainError(err))
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

// ListenerURL names a listener by the address really bound, as in
// http://127.0.0.1:3128.
func ListenerURL(l net.Listener) string {
	if l.Addr().Network() == "unix" {
		return "unix:" + l.Addr().String()
	}
	return httpScheme(speaksTLS(l)) + l.Addr().String()
}

// CheckExposure says why a Server must not serve l: it would be an open proxy.
// What counts is the address really bound. A loopback listener and a unix
// socket are their user's; any other needs credentials, or client certificates,
// or client networks that are not the whole world.
func (s *Server) CheckExposure(l net.Listener) error {
	if !BeyondThisMachine(l) {
		return nil
	}
	if s.Verifier != nil || verifiesClients(l) || s.restrictsClients() {
		return nil
	}
	return fmt.Errorf("%s would be an open proxy: anyone who reaches it could use it", ListenerURL(l))
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

func (s *Server) restrictsClients() bool {
	for _, p := range s.AllowClient {
		if p.Bits() == 0 {
			return false
		}
	}
	return len(s.AllowClient) > 0
}

// Summary tells who may go where through l, for people: four lines. It settles
// what the Server takes from the process's limits, if Serve has not yet.
func (s *Server) Summary(l net.Listener) []string {
	s.init()
	targets, addresses := s.policyFor(l).Describe()
	return []string{
		"clients: " + s.describeClients(l),
		"targets: " + targets,
		"addresses: " + addresses + s.describeJudge(),
		"route: " + s.describeRoutes(),
	}
}

func (s *Server) describeClients(l net.Listener) string {
	who := "anyone who reaches the listener"
	tcp, isTCP := l.Addr().(*net.TCPAddr)
	switch {
	case !isTCP:
		who = "this user, by the socket's mode 0600"
	case s.AllowClient != nil:
		nets := make([]string, len(s.AllowClient))
		for i, p := range s.AllowClient {
			nets[i] = p.String()
		}
		who = "from " + strings.Join(nets, ", ")
	case tcp.IP.IsLoopback():
		who = "anyone on this machine"
	}
	switch certificate := verifiesClients(l); {
	case certificate && s.Verifier != nil:
		who += ", with a client certificate or user name and password"
	case certificate:
		who += ", with a client certificate"
	case s.Verifier != nil:
		who += ", with user name and password"
	}
	return who
}

func (s *Server) describeRoutes() string {
	if len(s.Via) == 0 {
		return "direct"
	}
	rules := make([]string, len(s.Via))
	for i, r := range s.Via {
		rules[i] = r.String()
	}
	if s.Via[len(s.Via)-1].Pattern != nil {
		rules = append(rules, "else direct")
	}
	return strings.Join(rules, "; ")
}

// describeJudge says which addresses are not ours to judge.
func (s *Server) describeJudge() string {
	var parents []string
	for _, rule := range s.Via {
		for _, r := range rule.routes() {
			if !r.Direct() {
				parents = append(parents, r.String())
			}
		}
	}
	if parents == nil || s.ViaResolve {
		return ""
	}
	return "; addresses behind " + strings.Join(parents, ", ") + " are the parent's to judge"
}
