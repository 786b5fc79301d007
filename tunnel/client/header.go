package client

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"culvert/tunnel/internal/wire"
)

// Field is one field line of a request head (RFC 9110, section 5).
type Field struct {
	Name  string // a token
	Value string
}

// checkHeader says why a field cannot be among Client.Header: its name is no
// token, its value holds a control character (RULES 10), or it is one of those
// that make the request what it is: Host and the framing fields.
func checkHeader(f Field) error {
	if !wire.IsToken(f.Name) {
		return fmt.Errorf("header name %q is not a token (RFC 9110, section 5.6.2)", f.Name)
	}
	if wire.HasControl(f.Value) {
		return fmt.Errorf("header %s: the value holds a control character", f.Name)
	}
	for _, name := range []string{"Host", "Content-Length", "Transfer-Encoding", "Trailer", "Connection"} {
		if strings.EqualFold(f.Name, name) {
			return fmt.Errorf("header %s cannot be set: it is part of the CONNECT request itself", name)
		}
	}
	return nil
}

// ParseHeader parses "Name: value" for Client.Header, and checks it.
func ParseHeader(s string) (Field, error) {
	name, value, ok := strings.Cut(s, ":")
	if !ok {
		return Field{}, errors.New("a header needs a colon: 'Name: value', or 'Name:' to remove one")
	}
	f := Field{Name: name, Value: strings.Trim(value, " \t")}
	return f, checkHeader(f)
}

// setField adds a field. An empty value removes all of that name instead, and
// those that occur once are replaced.
func setField(fields []Field, f Field) []Field {
	once := strings.EqualFold(f.Name, "User-Agent") || strings.EqualFold(f.Name, "Proxy-Authorization")
	if f.Value == "" || once {
		fields = slices.DeleteFunc(fields, func(have Field) bool { return strings.EqualFold(have.Name, f.Name) })
	}
	if f.Value == "" {
		return fields
	}
	return append(fields, f)
}

func hasField(fields []Field, name string) bool {
	return slices.ContainsFunc(fields, func(f Field) bool { return strings.EqualFold(f.Name, name) })
}
