package tunnel

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Authority is a host and a port: the target of a CONNECT request in
// authority-form (RFC 9112, section 3.2.3). It is parsed once and canonical: names
// are in lower case without a root dot, IP literals are in netip's canonical form,
// and the port is 1 to 65535. The same value is judged, dialled and logged.
// Authorities are comparable with ==. The zero Authority is no target.
type Authority struct {
	host string     // canonical, an IPv6 literal without brackets
	addr netip.Addr // valid if host is an IP literal
	port uint16
}

// The errors of ParseAuthority, NewAuthority, ParseHost and ParsePort, for
// errors.Is. They contain no part of the input, so a reply may quote them.
var (
	ErrNoPort       = errors.New("the port is missing")
	ErrBadPort      = errors.New("the port is not a number from 1 to 65535")
	ErrEmptyHost    = errors.New("the host is empty")
	errUserinfo     = errors.New("userinfo is not allowed before the host")
	errPath         = errors.New("a path, query or fragment is not allowed")
	errBrackets     = errors.New("the brackets do not hold an IPv6 address")
	errUnbracketed  = errors.New("an IPv6 address needs brackets")
	ErrHostLength   = errors.New("the host name is longer than 253 bytes")
	ErrLabelLength  = errors.New("a label of the host name is empty or longer than 63 bytes")
	ErrHostChar     = errors.New("the host has a character that no host name has")
	ErrNumericHost  = errors.New("a host that ends in a number must be four decimal parts, as in 192.0.2.1")
	ErrZone         = errors.New("an IPv6 zone is not allowed")
	errAuthorityLen = errors.New("the target is too long")
)

// ParseAuthority parses HOST:PORT in the form that RFC 9110, section 9.3.6 demands
// of a CONNECT request: both parts are present, there is no userinfo and no path,
// and brackets enclose an IPv6 address and nothing else.
func ParseAuthority(s string) (Authority, error) {
	if len(s) > 512 {
		return Authority{}, errAuthorityLen
	}
	if strings.ContainsAny(s, "/?#\\") {
		return Authority{}, errPath
	}
	if strings.Contains(s, "@") {
		return Authority{}, errUserinfo
	}
	host, port, bracketed, err := splitHostPort(s)
	if err != nil {
		return Authority{}, err
	}
	p, err := ParsePort(port)
	if err != nil {
		return Authority{}, err
	}
	a, err := NewAuthority(host, p)
	if err != nil {
		return Authority{}, err
	}
	if bracketed != a.addr.Is6() {
		if bracketed {
			return Authority{}, errBrackets
		}
		return Authority{}, errUnbracketed
	}
	return a, nil
}

// ParseAuthorityDefaultPort is like ParseAuthority, but s may lack the port and its
// colon, and then has the given port.
func ParseAuthorityDefaultPort(s string, port uint16) (Authority, error) {
	a, err := ParseAuthority(s)
	if !errors.Is(err, ErrNoPort) || strings.HasSuffix(s, ":") {
		return a, err
	}
	return ParseAuthority(fmt.Sprintf("%s:%d", s, port))
}

// splitHostPort splits s at the colon before the port and removes the brackets.
func splitHostPort(s string) (host, port string, bracketed bool, err error) {
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", "", true, errBrackets
		}
		rest := s[end+1:]
		if rest == "" {
			return "", "", true, ErrNoPort
		}
		if rest[0] != ':' {
			return "", "", true, errBrackets
		}
		return s[1:end], rest[1:], true, nil
	}
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", "", false, ErrNoPort
	}
	if strings.IndexByte(s[:i], ':') >= 0 {
		return "", "", false, errUnbracketed
	}
	return s[:i], s[i+1:], false, nil
}

// ParsePort parses a port from 1 to 65535: one to five digits and nothing else.
func ParsePort(s string) (uint16, error) {
	if s == "" {
		return 0, ErrNoPort
	}
	if len(s) > 5 {
		return 0, ErrBadPort
	}
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, ErrBadPort
		}
		n = n*10 + int(s[i]-'0')
	}
	if n < 1 || n > 65535 {
		return 0, ErrBadPort
	}
	return uint16(n), nil
}

// NewAuthority returns the Authority of a host and a port other than 0. An IPv6
// literal has no brackets. The host must be ASCII: see ToASCII for names that a
// person typed.
func NewAuthority(host string, port uint16) (Authority, error) {
	if port == 0 {
		return Authority{}, ErrBadPort
	}
	name, addr, err := ParseHost(host)
	if err != nil {
		return Authority{}, err
	}
	return Authority{host: name, addr: addr, port: port}, nil
}

// ParseHost parses a name or an IP literal without brackets. It returns the
// canonical host, and its address if it is a literal.
func ParseHost(host string) (string, netip.Addr, error) {
	if host == "" {
		return "", netip.Addr{}, ErrEmptyHost
	}
	if strings.IndexByte(host, ':') >= 0 {
		if strings.IndexByte(host, '%') >= 0 {
			return "", netip.Addr{}, ErrZone
		}
		addr, err := netip.ParseAddr(host)
		if err != nil {
			return "", netip.Addr{}, errBrackets
		}
		return addr.String(), addr, nil
	}
	host = strings.TrimSuffix(host, ".") // the root dot
	if host == "" {
		return "", netip.Addr{}, ErrEmptyHost
	}
	if err := CheckHostName(host); err != nil {
		return "", netip.Addr{}, err
	}
	host = strings.ToLower(host)
	if !numericLabel(host[strings.LastIndexByte(host, '.')+1:]) {
		return host, netip.Addr{}, nil
	}
	addr, err := netip.ParseAddr(host)
	if err != nil || !addr.Is4() {
		return "", netip.Addr{}, ErrNumericHost
	}
	return addr.String(), addr, nil
}

// CheckHostName returns an error unless host has the form of a host name: labels of
// 1 to 63 letters, digits, hyphens and underscores, 253 bytes in all. An IPv4
// literal has this form too.
func CheckHostName(host string) error {
	if len(host) > 253 {
		return ErrHostLength
	}
	label := 0
	for i := range len(host) {
		switch c := host[i]; {
		case c == '.':
			if label == 0 {
				return ErrLabelLength
			}
			label = 0
			continue
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return ErrHostChar
		}
		if label++; label > 63 {
			return ErrLabelLength
		}
	}
	if label == 0 {
		return ErrLabelLength
	}
	return nil
}

// numericLabel reports whether a lenient resolver would read the label as a decimal,
// octal or hexadecimal number. Such hosts are never resolved.
func numericLabel(label string) bool {
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

// Host returns the canonical host: a name, or an IP literal without brackets.
func (a Authority) Host() string { return a.host }

// Port returns the port. It is 0 for the zero Authority only.
func (a Authority) Port() uint16 { return a.port }

// Addr returns the address if the host is an IP literal, else the zero Addr.
func (a Authority) Addr() netip.Addr { return a.addr }

// IsZero reports whether a is the zero Authority.
func (a Authority) IsZero() bool { return a.port == 0 }

// String returns the authority-form, HOST:PORT with IPv6 in brackets, and "" for the
// zero Authority.
func (a Authority) String() string {
	if a.IsZero() {
		return ""
	}
	return a.bracketed() + ":" + strconv.Itoa(int(a.port))
}

// bracketed returns the host as in a URI, with IPv6 in brackets.
func (a Authority) bracketed() string {
	if a.addr.Is6() {
		return "[" + a.host + "]"
	}
	return a.host
}

// HostHeader returns the value of the Host field (RFC 9110, section 7.2). The port
// is left out if it is defaultPort, that of the URI's scheme.
func (a Authority) HostHeader(defaultPort uint16) string {
	if a.port == defaultPort {
		return a.bracketed()
	}
	return a.String()
}

// MarshalText implements encoding.TextMarshaler: an Authority is a string in JSON.
func (a Authority) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. Empty text is the zero
// Authority.
func (a *Authority) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*a = Authority{}
		return nil
	}
	parsed, err := ParseAuthority(string(b))
	if err != nil {
		return fmt.Errorf("%q: %w", b, err)
	}
	*a = parsed
	return nil
}
