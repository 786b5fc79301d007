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

// checkHeader returns why a field cannot be in Client.Header: its name is not a
// token, its value holds a control character, or it is Host or a framing
// field, which the request itself determines.
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

// ParseHeader parses "Name: value" as a field for Client.Header. It returns an error
// if Client.Header must not hold the field. The value may be empty.
func ParseHeader(s string) (Field, error) {
	name, value, ok := strings.Cut(s, ":")
	if !ok {
		return Field{}, errors.New("a header needs a colon: 'Name: value', or 'Name:' to remove one")
	}
	f := Field{Name: name, Value: strings.Trim(value, " \t")}
	return f, checkHeader(f)
}

// setField adds a field. If f has no value, it removes all fields of that name
// instead. A field that may occur only once replaces the one that is there.
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

// hasField reports whether there is a field of that name, ignoring case.
func hasField(fields []Field, name string) bool {
	return slices.ContainsFunc(fields, func(f Field) bool { return strings.EqualFold(f.Name, name) })
}
