package h2

import (
	"errors"
	"strconv"
	"strings"
)

// checkRequest returns an error if the fields of a request are malformed (RFC 9113, sections
// 8.2, 8.3.1 and 8.5; RFC 8441, section 4 if extended). Errors contain the names of
// fields, but not their values, which may be secrets.
func checkRequest(fields []Field, extended bool) error {
	regular, err := splitPseudo(fields, ":method", ":scheme", ":authority", ":path", ":protocol")
	if err != nil {
		return err
	}
	method, scheme, path := get(fields, ":method"), get(fields, ":scheme"), get(fields, ":path")
	pseudo := fields[:len(fields)-len(regular)]
	has := func(name string) bool { return hasField(pseudo, name) }
	switch {
	case method == "":
		return errors.New(":method is missing")
	case !isToken(method):
		return errors.New(":method is no token")
	case has(":protocol") && !extended:
		return errors.New(":protocol was not announced")
	case has(":protocol") && method != "CONNECT":
		return errors.New(":protocol without CONNECT")
	case has(":protocol") && (scheme == "" || path == "" || get(fields, ":authority") == ""):
		return errors.New("an extended CONNECT lacks :scheme, :path or :authority")
	case has(":protocol"):
		if err := checkTarget(scheme, get(fields, ":authority"), path, method); err != nil {
			return err
		}
	case method == "CONNECT" && (has(":scheme") || has(":path")):
		return errors.New("a CONNECT has neither :scheme nor :path")
	case method == "CONNECT" && !has(":authority"):
		return errors.New("a CONNECT lacks :authority")
	case method == "CONNECT":
	case scheme == "" || path == "":
		return errors.New(":scheme or :path is missing or empty")
	default:
		if err := checkTarget(scheme, get(fields, ":authority"), path, method); err != nil {
			return err
		}
	}
	if err := checkAuthority(get(fields, ":authority")); err != nil {
		return err
	}
	if err := checkHostField(regular, get(fields, ":authority"), scheme == "http" || scheme == "https"); err != nil {
		return err
	}
	return checkRegular(regular)
}

// checkTarget checks the parts of a request's target to the last byte (RFC 9113, sections
// 8.3.1 and 10.3): in HTTP/1, another byte would make another request line of them.
func checkTarget(scheme, authority, path, method string) error {
	switch {
	case !isScheme(scheme):
		return errors.New(":scheme is no scheme")
	case path[0] != '/' && !(path == "*" && method == "OPTIONS") && (scheme == "http" || scheme == "https"):
		return errors.New(":path does not begin with a slash")
	case !isVisible(path) || strings.IndexByte(path, '#') >= 0:
		return errors.New(":path holds a character that no path may")
	}
	return nil
}

// checkAuthority checks the bytes of :authority, which may be empty here. Its syntax is the
// handler's to check.
func checkAuthority(authority string) error {
	if !isVisible(authority) {
		return errors.New(":authority is no host with an optional port")
	}
	return nil
}

// checkHostField checks host against :authority: there is one at most, which names the
// same (RFC 9113, section 8.3.1; RFC 9110, section 7.2), and it may stand in its place.
func checkHostField(regular []Field, authority string, needed bool) error {
	host, found := "", false
	for _, f := range regular {
		switch {
		case f.Name != "host":
			continue
		case found:
			return errors.New("host occurs twice")
		}
		host, found = f.Value, true
	}
	switch {
	case !found && authority == "" && needed:
		return errors.New("there is neither :authority nor host")
	case !found:
		return nil
	case authority == "" && needed:
		if host == "" {
			return errors.New("host is empty")
		}
		return checkAuthority(host)
	case !strings.EqualFold(strings.TrimSuffix(host, ":80"), strings.TrimSuffix(authority, ":80")) && needed:
		return errors.New("host differs from :authority")
	}
	return nil
}

// isScheme reports whether s is a scheme (RFC 3986, section 3.1).
func isScheme(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (i == 0 || !('0' <= c && c <= '9') && c != '+' && c != '-' && c != '.') {
			return false
		}
	}
	return s != ""
}

// isVisible reports whether s is visible ASCII.
func isVisible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// checkReply returns the status code of a reply, or an error if its fields are malformed
// (RFC 9113, sections 8.2 and 8.3.2).
func checkReply(fields []Field) (code int, err error) {
	regular, err := splitPseudo(fields, ":status")
	if err != nil {
		return 0, err
	}
	status := get(fields, ":status")
	code, err = strconv.Atoi(status)
	switch {
	case err != nil || len(status) != 3 || code < 100:
		return 0, errors.New(":status is missing or no status code")
	case code == 101:
		return 0, errors.New("101 means nothing in HTTP/2") // section 8.6
	}
	return code, checkRegular(regular)
}

// checkTrailers checks trailer fields (RFC 9113, section 8.1).
func checkTrailers(fields []Field) error {
	if _, err := splitPseudo(fields); err != nil {
		return err
	}
	return checkRegular(fields)
}

// splitPseudo returns the fields after the pseudo-header fields. These must be among the
// allowed ones, come first, and occur once each.
func splitPseudo(fields []Field, allowed ...string) (regular []Field, err error) {
	n := 0
	for n < len(fields) && fields[n].IsPseudo() {
		n++
	}
	for i, f := range fields[:n] {
		known := false
		for _, name := range allowed {
			known = known || name == f.Name
		}
		switch {
		case !known:
			return nil, errors.New("a pseudo-header field that does not belong there")
		case hasField(fields[:i], f.Name):
			return nil, errors.New(f.Name + " occurs twice")
		case !isValue(f.Value):
			return nil, errors.New(f.Name + " holds a character that no field may")
		}
	}
	for _, f := range fields[n:] {
		if f.IsPseudo() {
			return nil, errors.New("a pseudo-header field behind others")
		}
	}
	return fields[n:], nil
}

// checkRegular checks fields against RFC 9113, section 8.2.
func checkRegular(fields []Field) error {
	for _, f := range fields {
		if !isToken(f.Name) || f.Name != strings.ToLower(f.Name) {
			return errors.New("a field name that is no lower-case token")
		}
		if !isValue(f.Value) {
			return errors.New(f.Name + " holds a character that no field may")
		}
		switch f.Name {
		case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
			return errors.New(f.Name + " is not for HTTP/2") // section 8.2.2
		case "te":
			if f.Value != "trailers" {
				return errors.New("te is more than trailers")
			}
		}
	}
	return nil
}

// contentLength returns the value of content-length, -1 if there is none. The same value
// may occur more than once (RFC 9110, section 8.6).
func contentLength(fields []Field) (int64, error) {
	length := int64(-1)
	for _, f := range fields {
		if f.Name != "content-length" {
			continue
		}
		n, err := strconv.ParseUint(f.Value, 10, 63)
		if err != nil || length >= 0 && length != int64(n) {
			return -1, errors.New("content-length is no length")
		}
		length = int64(n)
	}
	return length, nil
}

// hasField reports whether there is a field of that name.
func hasField(fields []Field, name string) bool {
	for _, f := range fields {
		if f.Name == name {
			return true
		}
	}
	return false
}

// isToken reports whether s is a token (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && !('0' <= c && c <= '9') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// isValue reports whether s is a field value (RFC 9113, section 8.2.1). It may contain no
// other control characters either, since it may be passed on in HTTP/1 (RFC 9110,
// section 5.5).
func isValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return s == strings.Trim(s, " \t")
}
