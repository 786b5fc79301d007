package tunnel

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Authority is a host and a port, the target of a CONNECT request in
// authority-form (RFC 9112, section 3.2.3). It is parsed once and canonical:
// names are lower case without a root dot, IP literals are netip's canonical
// text, the port is 1 to 65535. The same value is judged, dialled and logged.
// The zero Authority is no target. Authorities are comparable.
type Authority struct {
	host string     // canonical, an IPv6 literal without brackets
	addr netip.Addr // valid if host is an IP literal
	port uint16
}

// Reasons for which ParseAuthority and NewAuthority refuse their input. They
// carry no part of that input, so that a reply may quote them.
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

// ParseAuthority parses HOST:PORT as RFC 9110, section 9.3.6 demands it of a
// CONNECT request: both parts present, no userinfo, no path, IPv6 in brackets
// and nothing else in brackets.
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

// splitHostPort splits at the port's colon and takes the brackets off.
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

// ParsePort takes digits only, at most five, so that nothing wraps.
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

// NewAuthority makes an Authority of a host, an IPv6 literal without brackets,
// and a port other than 0. The host must be ASCII: see ToASCII for names that
// a person typed.
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

// ParseHost returns the canonical host, and its address if it is a literal.
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

// numericLabel says whether a lenient resolver would read the label as a
// number: decimal, octal or 0x-hexadecimal (RULES: never resolved that way).
func numericLabel(label string) bool {
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

// Host returns the canonical host: a name, or an IP literal without brackets.
func (a Authority) Host() string { return a.host }

// Port returns the port, 0 only for the zero Authority.
func (a Authority) Port() uint16 { return a.port }

// Addr returns the address if the host is an IP literal, else the zero Addr.
func (a Authority) Addr() netip.Addr { return a.addr }

// IsZero reports whether a is the zero Authority.
func (a Authority) IsZero() bool { return a.port == 0 }

// String returns authority-form: HOST:PORT, IPv6 in brackets; "" for zero.
func (a Authority) String() string {
	if a.IsZero() {
		return ""
	}
	return a.bracketed() + ":" + strconv.Itoa(int(a.port))
}

// bracketed returns the host as a URI writes it.
func (a Authority) bracketed() string {
	if a.addr.Is6() {
		return "[" + a.host + "]"
	}
	return a.host
}

// HostHeader returns the Host field's value for a scheme whose default port is
// given (RFC 9110, section 7.2): the port is left out if it is the default.
func (a Authority) HostHeader(defaultPort uint16) string {
	if a.port == defaultPort {
		return a.bracketed()
	}
	return a.String()
}

// MarshalText makes Authority a JSON string.
func (a Authority) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText is the inverse of MarshalText.
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
