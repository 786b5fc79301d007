package probe

import (
	"errors"
	"fmt"
	"strings"

	"culvert/tunnel/internal/wire"
)

// CheckProxyStatus says what is wrong with the values of Proxy-Status fields by RFC
// 9209, section 2: together they are a structured-field list of strings or tokens,
// with parameters (RFC 8941, sections 3.1 and 4.2). It is strict where
// tunnel.ParseProxyStatus is lenient.
func CheckProxyStatus(values []string) error {
	p := sfParser{strings.Trim(strings.Join(values, ", "), " ")}
	if p.rest == "" {
		return errors.New("the field is empty")
	}
	for {
		if err := p.member(); err != nil {
			return err
		}
		p.rest = strings.TrimLeft(p.rest, " \t")
		if p.rest == "" {
			return nil
		}
		if p.rest[0] != ',' {
			return fmt.Errorf("%q stands where a comma or semicolon should", p.rest[:1])
		}
		if p.rest = strings.TrimLeft(p.rest[1:], " \t"); p.rest == "" {
			return errors.New("it ends with a comma")
		}
	}
}

// sfParser cuts structured-field items off the front of rest.
type sfParser struct{ rest string }

func (p *sfParser) member() error {
	if kind, err := p.item(); err != nil {
		return err
	} else if kind != sfString && kind != sfToken {
		return errors.New("the intermediary's name is neither a token nor a string")
	}
	for strings.HasPrefix(p.rest, ";") {
		p.rest = strings.TrimLeft(p.rest[1:], " ")
		key := p.cut("abcdefghijklmnopqrstuvwxyz0123456789_-.*")
		if key == "" || strings.IndexByte("0123456789_-.", key[0]) >= 0 {
			return errors.New("a parameter has no name, or one not in lower case")
		}
		kind := sfBoolean
		if strings.HasPrefix(p.rest, "=") {
			p.rest = p.rest[1:]
			var err error
			if kind, err = p.item(); err != nil {
				return fmt.Errorf("parameter %s: %w", key, err)
			}
		}
		if want, known := proxyStatusParameters[key]; known && !strings.Contains(want, string(kind)) {
			return fmt.Errorf("parameter %s is not a %s", key, want)
		}
	}
	return nil
}

// sfKind is the type of a bare item.
type sfKind string

const (
	sfString  sfKind = "string"
	sfToken   sfKind = "token"
	sfNumber  sfKind = "number"
	sfBoolean sfKind = "boolean"
	sfBytes   sfKind = "byte sequence"
)

// proxyStatusParameters holds the types of the parameters in RFC 9209, sections 2.1
// and 2.3.
var proxyStatusParameters = map[string]string{
	"error": "token", "details": "string", "next-hop": "string or token",
	"received-status": "number", "next-protocol": "token or byte sequence", "rcode": "string", "info-code": "number",
}

// item cuts one bare item off the front (RFC 8941, section 4.2.3.1).
func (p *sfParser) item() (sfKind, error) {
	if p.rest == "" {
		return "", errors.New("a value is missing")
	}
	switch c := p.rest[0]; {
	case c == '"':
		return sfString, p.string()
	case c == '?':
		if !strings.HasPrefix(p.rest, "?0") && !strings.HasPrefix(p.rest, "?1") {
			return "", errors.New("a boolean is ?0 or ?1")
		}
		p.rest = p.rest[2:]
		return sfBoolean, nil
	case c == ':':
		_, rest, ok := strings.Cut(p.rest[1:], ":")
		if !ok {
			return "", errors.New("a byte sequence has no end")
		}
		p.rest = rest
		return sfBytes, nil
	case c == '-', c >= '0' && c <= '9':
		p.cut("-0123456789.")
		return sfNumber, nil
	case wire.IsSFToken(string(c)):
		p.cut("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789*!#$%&'+-.^_`|~:/")
		return sfToken, nil
	}
	return "", errors.New("a value is neither quoted nor a token")
}

func (p *sfParser) string() error {
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			p.rest = p.rest[i+1:]
			return nil
		case c == '\\':
			if i++; i == len(p.rest) || p.rest[i] != '"' && p.rest[i] != '\\' {
				return errors.New("a backslash in a string stands before neither a quote nor a backslash")
			}
		case c < ' ' || c >= 0x7f:
			return errors.New("a string holds a character that is not printable ASCII")
		}
	}
	return errors.New("a string has no end")
}

// cut cuts the leading characters that are in set off the front.
func (p *sfParser) cut(set string) string {
	rest := strings.TrimLeft(p.rest, set)
	head := p.rest[:len(p.rest)-len(rest)]
	p.rest = rest
	return head
}
