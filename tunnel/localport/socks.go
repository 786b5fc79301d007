package localport

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/socks"
)

// socksServer is the server's side of a SOCKS exchange: version 5 without a login (RFC
// 1928), 4 or 4a. It reads no byte beyond the request, which bytes for the target may
// follow at once.
type socksServer struct {
	conn    net.Conn
	timeout time.Duration // of the whole request; negative = none
	version byte          // 0 = not known yet
}

// protocol returns the protocol for the log.
func (s *socksServer) protocol() string {
	switch s.version {
	case socks.Version5:
		return "socks5"
	case socks.Version4:
		return "socks4"
	}
	return "socks"
}

// request reads the request and returns its target. It has answered a request for which
// it returns an error, if there is an answer.
func (s *socksServer) request() (tunnel.Authority, error) {
	if s.timeout > 0 {
		_ = s.conn.SetReadDeadline(time.Now().Add(s.timeout))
		defer s.conn.SetReadDeadline(time.Time{})
	}
	first, err := s.read(1)
	if err != nil {
		return tunnel.Authority{}, s.failed("a SOCKS request", err)
	}
	switch s.version = first[0]; s.version {
	case socks.Version5:
		return s.request5()
	case socks.Version4:
		return s.request4()
	case 'C', 'G', 'P', 'H', 'O', 'D':
		s.version = 0
		_, _ = io.WriteString(s.conn, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		return tunnel.Authority{}, s.malformed("it speaks HTTP, and this port speaks SOCKS: write socks5h:// in the program's proxy setting")
	}
	return tunnel.Authority{}, s.malformed(fmt.Sprintf("it does not speak SOCKS 4 or 5: it began with %#02x", first[0]))
}

// request5 reads a request of version 5 after the version (RFC 1928, sections 3 and 4).
func (s *socksServer) request5() (target tunnel.Authority, err error) {
	methods, err := s.sized()
	if err != nil {
		return target, s.failed("the SOCKS greeting", err)
	}
	method := byte(socks.NoAcceptable)
	for _, m := range methods {
		if m == socks.NoAuth {
			method = m
		}
	}
	if _, err := s.conn.Write([]byte{socks.Version5, method}); err != nil {
		return target, err
	}
	if method == socks.NoAcceptable {
		return target, s.malformed("it insists on a login, and this port has none")
	}
	head, err := s.read(4)
	if err != nil {
		return target, s.failed("the SOCKS request", err)
	}
	var address []byte
	name := false
	switch head[3] {
	case socks.AddrIPv4:
		address, err = s.read(4)
	case socks.AddrIPv6:
		address, err = s.read(16)
	case socks.AddrName:
		address, err = s.sized()
		name = true
	default:
		_ = s.answer(socks.AddressNotSupported)
		return target, s.malformed(fmt.Sprintf("an address of kind %d", head[3]))
	}
	if err != nil {
		return target, s.failed("the SOCKS request", err)
	}
	port, err := s.read(2)
	if err != nil {
		return target, s.failed("the SOCKS request", err)
	}
	if head[0] != socks.Version5 || head[1] != socks.Connect {
		_ = s.answer(socks.CommandNotSupported)
		return target, s.malformed(fmt.Sprintf("the SOCKS command %d: there is CONNECT only", head[1]))
	}
	return s.target(address, name, port)
}

// request4 reads a request of version 4 after the version. In version 4a the name of the
// target follows.
func (s *socksServer) request4() (target tunnel.Authority, err error) {
	head, err := s.read(7)
	if err == nil {
		_, err = s.terminated() // the user's name is not used
	}
	if err != nil {
		return target, s.failed("the SOCKS request", err)
	}
	if head[0] != socks.Connect {
		_ = s.answer(socks.CommandNotSupported)
		return target, s.malformed(fmt.Sprintf("the SOCKS command %d: there is CONNECT only", head[0]))
	}
	port, address := head[1:3], head[3:]
	if address[0]|address[1]|address[2] != 0 || address[3] == 0 {
		return s.target(address, false, port)
	}
	if address, err = s.terminated(); err != nil {
		return target, s.failed("the SOCKS request", err)
	}
	return s.target(address, true, port)
}

// target returns the authority of an address in network byte order, or of a name.
func (s *socksServer) target(address []byte, name bool, port []byte) (tunnel.Authority, error) {
	host := string(address)
	if !name {
		addr, _ := netip.AddrFromSlice(address)
		host = addr.Unmap().String()
	}
	target, err := tunnel.NewAuthority(host, uint16(port[0])<<8|uint16(port[1]))
	if err != nil {
		_ = s.answer(socks.GeneralFailure)
		return target, s.malformed("the target: " + err.Error())
	}
	return target, nil
}

// reply answers that the tunnel is open, or why it is not.
func (s *socksServer) reply(e *tunnel.Error) error {
	if e == nil {
		return s.answer(socks.Succeeded)
	}
	return s.answer(socksCode(e))
}

// socksCode returns the reply code of a failure (RFC 1928, section 6). A failure at a
// proxy on the route is a general one, since the other codes are about the target.
func socksCode(e *tunnel.Error) byte {
	switch code := e.ExitCode(); {
	case code == tunnel.ExitRefused:
		return socks.NotAllowed
	case code != tunnel.ExitTarget:
		return socks.GeneralFailure
	}
	switch e.Type {
	case tunnel.ErrorConnectionRefused:
		return socks.ConnectionRefused
	case tunnel.ErrorDestinationUnroutable:
		return socks.NetworkUnreachable
	default:
		return socks.HostUnreachable
	}
}

// answer writes a reply. code is that of version 5.
func (s *socksServer) answer(code byte) error {
	message := []byte{socks.Version5, code, 0, socks.AddrIPv4, 0, 0, 0, 0, 0, 0}
	if s.version == socks.Version4 {
		message = []byte{0, socks.Granted4, 0, 0, 0, 0, 0, 0}
		if code != socks.Succeeded {
			message[1] = socks.Rejected4
		}
	}
	_, err := s.conn.Write(message)
	return err
}

// read reads n bytes.
func (s *socksServer) read(n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(s.conn, b)
	return b, err
}

// sized reads a field whose length is in the byte before it.
func (s *socksServer) sized() ([]byte, error) {
	n, err := s.read(1)
	if err != nil {
		return nil, err
	}
	return s.read(int(n[0]))
}

// terminated reads a field that ends with a NUL.
func (s *socksServer) terminated() (text []byte, err error) {
	for len(text) <= socks.MaxText {
		b, err := s.read(1)
		if err != nil || b[0] == 0 {
			return text, err
		}
		text = append(text, b[0])
	}
	return nil, errors.New("it has no end")
}

// malformed returns the error of a request that cannot be served.
func (s *socksServer) malformed(detail string) *tunnel.Error {
	return &tunnel.Error{Phase: tunnel.PhaseRequest, Type: tunnel.ErrorRequest, Detail: detail}
}

// failed returns the error of a request that did not arrive whole.
func (s *socksServer) failed(what string, err error) *tunnel.Error {
	e := &tunnel.Error{Phase: tunnel.PhaseRequest, Type: tunnel.ErrorConnectionTerminated, Detail: what + " did not arrive whole", Err: neterr.Plain(err)}
	if neterr.Timeout(err) {
		e.Type = tunnel.ErrorConnectionReadTimeout
	}
	return e
}
