package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/dialer"
	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/socks"
	"culvert/tunnel/internal/wire"
)

// socksFailure is the meaning of a SOCKS proxy's reply code.
type socksFailure struct {
	is    tunnel.ErrorType
	words string
}

var socks5Failures = map[byte]socksFailure{ // RFC 1928, section 6
	socks.GeneralFailure:      {tunnel.ErrorDestinationUnavailable, "general failure"},
	socks.NotAllowed:          {tunnel.ErrorDenied, "not allowed by its rules"},
	socks.NetworkUnreachable:  {tunnel.ErrorDestinationUnroutable, "network unreachable"},
	socks.HostUnreachable:     {tunnel.ErrorDestinationUnroutable, "host unreachable, or its name unknown"},
	socks.ConnectionRefused:   {tunnel.ErrorConnectionRefused, "connection refused"},
	socks.TTLExpired:          {tunnel.ErrorConnectionTimeout, "no answer in time (time to live expired)"},
	socks.CommandNotSupported: {tunnel.ErrorRequest, "it cannot CONNECT"},
	socks.AddressNotSupported: {tunnel.ErrorRequest, "it does not take this kind of address"},
}

var socks4Failures = map[byte]socksFailure{
	socks.Rejected4:  {tunnel.ErrorDestinationUnavailable, "rejected or failed"},
	socks.NoIdent4:   {tunnel.ErrorCredentials, "it could not ask this machine for the user's name"},
	socks.WrongUser4: {tunnel.ErrorCredentials, "the user's name is not the one this machine gives"},
}

// socksHandshake asks a SOCKS proxy to connect.
type socksHandshake struct {
	*hopRequest
	conn net.Conn
}

// run reads nothing after the proxy's answer, so there are no early bytes.
func (s *socksHandshake) run(ctx context.Context) (conn net.Conn, early []byte, e *tunnel.Error) {
	if e := s.connect(ctx); e != nil {
		return nil, nil, e
	}
	return s.conn, nil, nil
}

func (s *socksHandshake) connect(ctx context.Context) *tunnel.Error {
	address, e := s.address(ctx)
	if e != nil {
		return e
	}
	defer sock.InterruptOnDone(ctx, s.conn)()
	if s.hop.Scheme == tunnel.SchemeSOCKS4A {
		return s.version4(ctx, address)
	}
	method, e := s.greet(ctx)
	if e == nil && method == socks.Password {
		e = s.logIn(ctx)
	}
	if e != nil {
		return e
	}
	return s.version5(ctx, address)
}

// address returns the address that the proxy is asked to connect to, or the zero Addr
// if it is asked by name. For socks5 the name is resolved here.
func (s *socksHandshake) address(ctx context.Context) (netip.Addr, *tunnel.Error) {
	if s.hop.Scheme != tunnel.SchemeSOCKS5 || s.next.Addr().IsValid() {
		return s.next.Addr(), nil
	}
	d := dialer.Dialer{Resolver: s.client.Resolver, Network: s.client.Network}
	if t := s.client.Trace; t != nil {
		d.Trace = t.dialTrace(s.next.Host())
	}
	addrs, e := d.Resolve(ctx, s.next)
	if e != nil {
		e.Detail = "not by this machine; with socks5h:// the proxy does it"
		return netip.Addr{}, e
	}
	return addrs[0], nil
}

// exchange sends a message, reads length bytes of the answer, calls check with them,
// and passes the message to the Trace.
func (s *socksHandshake) exchange(ctx context.Context, m *SOCKSMessage, length int, check func(answer []byte) *tunnel.Error) *tunnel.Error {
	s.client.waiting("%s to answer %s's %s for %s", s.hop.Name(), s.hop.Scheme, m.Step, s.next)
	m.Hop, m.Next, m.Started = s.hop, s.next, time.Now()
	e := s.sendAndRead(ctx, m, length)
	if e == nil {
		e = check(m.Received)
	}
	m.Ended = time.Now()
	if e != nil {
		s.setHop(e)
		m.Err = e
	}
	if t := s.client.Trace; t != nil && t.SOCKSExchanged != nil {
		t.SOCKSExchanged(m)
	}
	return e
}

// sendAndRead sends a message, and reads the first length bytes of the answer.
func (s *socksHandshake) sendAndRead(ctx context.Context, m *SOCKSMessage, length int) *tunnel.Error {
	if _, err := s.conn.Write(m.wire()); err != nil && !neterr.Reset(err) {
		return cutError(ctx, tunnel.PhaseRequest, err)
	}
	return s.read(ctx, m, length)
}

// read reads length more bytes of the answer.
func (s *socksHandshake) read(ctx context.Context, m *SOCKSMessage, length int) *tunnel.Error {
	answer := make([]byte, length)
	n, err := io.ReadFull(s.conn, answer)
	m.Received = append(m.Received, answer[:n]...)
	switch {
	case err == nil:
		return nil
	case len(m.Received) >= 2 && m.Received[0] == socks.Version5 && s.hop.Scheme == tunnel.SchemeSOCKS4A:
		return s.notSOCKS(m.Received) // an answer of version 5 is shorter
	case len(m.Received) > 0 && !neterr.Timeout(err):
		return &tunnel.Error{Phase: tunnel.PhaseReply, Type: tunnel.ErrorResponseIncomplete, Err: neterr.Plain(err)}
	}
	e := cutError(ctx, tunnel.PhaseReply, err)
	if errors.Is(err, io.EOF) {
		e.Err = nil // the words of the type say it
	}
	return e
}

// greet negotiates the login method (RFC 1928, section 3). It offers a password only if
// there is one.
func (s *socksHandshake) greet(ctx context.Context) (method byte, e *tunnel.Error) {
	greeting := []byte{socks.Version5, 1, socks.NoAuth}
	if s.hop.Credentials != nil {
		greeting = []byte{socks.Version5, 2, socks.NoAuth, socks.Password}
	}
	e = s.exchange(ctx, &SOCKSMessage{Step: SOCKSGreeting, Sent: greeting}, 2, func(chosen []byte) *tunnel.Error {
		switch method = chosen[1]; {
		case chosen[0] != socks.Version5:
			return s.notSOCKS(chosen)
		case method == socks.NoAuth, method == socks.Password && s.hop.Credentials != nil:
			return nil
		case method == socks.NoAcceptable && s.hop.Credentials == nil:
			return s.refused(socksFailure{tunnel.ErrorCredentials, "it takes no client without a login"}, false)
		case method == socks.NoAcceptable:
			e := s.refused(socksFailure{tunnel.ErrorCredentials, "of another kind than a user name and a password"}, false)
			e.Login.Withheld = true
			return e
		}
		return &tunnel.Error{Phase: tunnel.PhaseReply, Type: tunnel.ErrorProtocol, Detail: fmt.Sprintf("it chose the login method %d, which was not offered", method)}
	})
	return method, e
}

// logIn sends the user name and the password (RFC 1929).
func (s *socksHandshake) logIn(ctx context.Context) *tunnel.Error {
	c := s.hop.Credentials
	user := append([]byte{socks.AuthVersion, byte(len(c.User))}, c.User...)
	m := &SOCKSMessage{Step: SOCKSAuthentication, Sent: append(slices.Clone(user), masked...)}
	m.secret = append(append(user, byte(len(c.Password))), c.Password...)
	return s.exchange(ctx, m, 2, func(answer []byte) *tunnel.Error {
		if answer[1] != 0 {
			return s.refused(socksFailure{tunnel.ErrorCredentials, fmt.Sprintf("the login failed with code %d", answer[1])}, true)
		}
		return nil
	})
}

// version5 sends the request and reads its answer (RFC 1928, sections 4 and 6). The
// address in the answer is read, but not used.
func (s *socksHandshake) version5(ctx context.Context, address netip.Addr) *tunnel.Error {
	message := []byte{socks.Version5, socks.Connect, 0}
	switch address = address.Unmap(); {
	case address.Is4():
		message = append(append(message, socks.AddrIPv4), address.AsSlice()...)
	case address.Is6():
		message = append(append(message, socks.AddrIPv6), address.AsSlice()...)
	default:
		message = append(append(message, socks.AddrName, byte(len(s.next.Host()))), s.next.Host()...)
	}
	m := &SOCKSMessage{Step: SOCKSConnect, Sent: s.withPort(message), address: address}
	return s.exchange(ctx, m, 4, func(head []byte) *tunnel.Error {
		switch {
		case head[0] != socks.Version5:
			return s.notSOCKS(head)
		case head[1] != 0:
			return s.refused(failureOf(socks5Failures, head[1]), false)
		}
		rest := net.IPv4len
		switch head[3] {
		case socks.AddrIPv4:
		case socks.AddrIPv6:
			rest = net.IPv6len
		case socks.AddrName:
			if e := s.read(ctx, m, 1); e != nil {
				return e
			}
			rest = int(m.Received[4])
		default:
			return &tunnel.Error{Phase: tunnel.PhaseReply, Type: tunnel.ErrorProtocol, Detail: fmt.Sprintf("its answer has an address of the unknown kind %d", head[3])}
		}
		return s.read(ctx, m, rest+2)
	})
}

// version4 sends the request of version 4a and reads its answer. The address 0.0.0.1
// means that a name follows at the end.
func (s *socksHandshake) version4(ctx context.Context, address netip.Addr) *tunnel.Error {
	address = address.Unmap()
	message := s.withPort([]byte{socks.Version4, socks.Connect})
	name := ""
	if address.Is4() {
		message = append(message, address.AsSlice()...)
	} else {
		message, name = append(message, 0, 0, 0, 1), s.next.Host()+"\x00"
	}
	if c := s.hop.Credentials; c != nil {
		message = append(message, c.User...)
	}
	m := &SOCKSMessage{Step: SOCKSConnect, Sent: append(append(message, 0), name...), address: address}
	return s.exchange(ctx, m, 8, func(answer []byte) *tunnel.Error {
		switch {
		case answer[0] != 0:
			return s.notSOCKS(answer)
		case answer[1] != socks.Granted4:
			return s.refused(failureOf(socks4Failures, answer[1]), s.hop.Credentials != nil)
		}
		return nil
	})
}

// withPort appends the port, most significant byte first.
func (s *socksHandshake) withPort(message []byte) []byte {
	return append(message, byte(s.next.Port()>>8), byte(s.next.Port()))
}

// failureOf returns the meaning of a reply code, which may be one without a defined
// meaning.
func failureOf(failures map[byte]socksFailure, code byte) socksFailure {
	if f, ok := failures[code]; ok {
		return f
	}
	return socksFailure{tunnel.ErrorDestinationUnavailable, fmt.Sprintf("code %d", code)}
}

// refused returns the Error for a proxy's refusal. Sent reports whether credentials were
// sent before it.
func (s *socksHandshake) refused(f socksFailure, sent bool) *tunnel.Error {
	e := &tunnel.Error{Phase: tunnel.PhaseReply, Type: f.is, Reported: true, Detail: f.words}
	if f.is == tunnel.ErrorCredentials {
		e.Login = &tunnel.LoginTrouble{Sent: sent}
		if s.hop.Credentials != nil {
			e.Login.Source = s.hop.Credentials.Source
		}
	}
	return e
}

// notSOCKS returns the Error for an answer in another protocol.
func (s *socksHandshake) notSOCKS(began []byte) *tunnel.Error {
	return &tunnel.Error{Phase: tunnel.PhaseReply, Type: tunnel.ErrorProtocol, Answer: &tunnel.AnswerTrouble{Start: began, WrongProtocol: true},
		Detail: "it does not speak " + s.hop.Scheme + ": it begins with \"" + wire.Escape(began, 40) + "\""}
}

// checkSOCKS returns an error if SOCKS cannot carry what hop h would be asked: the
// name or address of next, or the hop's credentials.
func checkSOCKS(h tunnel.Hop, next tunnel.Authority) error {
	switch c := h.Credentials; {
	case len(next.Host()) > socks.MaxText:
		return fmt.Errorf("%s: the name to ask it for is longer than SOCKS can say", h)
	case h.Scheme == tunnel.SchemeSOCKS4A && next.Addr().IsValid() && !next.Addr().Unmap().Is4():
		return fmt.Errorf("%s: SOCKS 4 knows no IPv6: use socks5h", h)
	case c != nil && (len(c.User) > socks.MaxText || len(c.Password) > socks.MaxText):
		return fmt.Errorf("%s: a user name or password is longer than SOCKS can say", h)
	case c != nil && h.Scheme != tunnel.SchemeSOCKS4A && c.Password == "":
		return fmt.Errorf("%s: a SOCKS login needs a password", h)
	}
	return nil
}
