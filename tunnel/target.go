package tunnel

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/net/idna"
)

// ParseTarget parses HOST:PORT as a person types it. It is like ParseAuthority, but
// maps names that are not ASCII to their xn-- form (RFC 5891).
func ParseTarget(hostport string) (Authority, error) {
	host, port := hostport, ""
	if i := strings.LastIndexByte(hostport, ':'); i >= 0 {
		host, port = hostport[:i], hostport[i:]
	}
	host, err := ToASCII(host)
	if err != nil {
		return Authority{}, fmt.Errorf("%q: %w", hostport, err)
	}
	a, err := ParseAuthority(host + port)
	if err != nil {
		return Authority{}, fmt.Errorf("%q: %w", hostport, err)
	}
	return a, nil
}

// ParseHostPort parses a target whose host and port are separate, as ssh's %h and %p
// are. An IPv6 address may be in brackets.
func ParseHostPort(host, port string) (Authority, error) {
	p, err := ParsePort(port)
	if err != nil {
		return Authority{}, fmt.Errorf("port %q: %w", port, err)
	}
	name := host
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") && strings.Contains(host, ":") {
		name = host[1 : len(host)-1]
	}
	if name, err = ToASCII(name); err != nil {
		return Authority{}, fmt.Errorf("host %q: %w", host, err)
	}
	a, err := NewAuthority(name, p)
	if err != nil {
		return Authority{}, fmt.Errorf("host %q: %w", host, err)
	}
	return a, nil
}

// ToASCII maps a name that is not ASCII to its xn-- form (RFC 5891). It returns ASCII
// as it is.
func ToASCII(host string) (string, error) {
	if !strings.ContainsFunc(host, func(r rune) bool { return r >= 0x80 }) {
		return host, nil
	}
	ascii, err := idna.Lookup.ToASCII(host)
	if err != nil {
		return "", errors.New("the name is not a valid internationalised host name")
	}
	return ascii, nil
}
