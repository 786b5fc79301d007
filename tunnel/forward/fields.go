package forward

import (
	"strings"

	"culvert/tunnel/internal/wire"
)

// connectionFields lists the fields that concern one connection only and are never
// forwarded, whether Connection names them or not (RFC 9110, section 7.6.1), and the
// framing, which is written anew for each connection.
var connectionFields = [...]string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authorization", "Proxy-Authenticate",
	"TE", "Transfer-Encoding", "Upgrade", "HTTP2-Settings", "Content-Length",
}

// hopByHop decides which fields of a message concern its connection only.
type hopByHop struct {
	options []string // what Connection names beside "close" and "keep-alive"
}

// hopByHopOf returns the hopByHop of a message with these fields.
func hopByHopOf(fields []wire.Field) (h hopByHop) {
	for i := range fields {
		if !strings.EqualFold(fields[i].Name, "Connection") {
			continue
		}
		for option := range wire.Elements(fields[i].Value) {
			if !strings.EqualFold(option, "close") && !strings.EqualFold(option, "keep-alive") {
				h.options = append(h.options, option)
			}
		}
	}
	return h
}

// has reports whether the field with that name is not forwarded.
func (h hopByHop) has(name string) bool {
	for _, own := range connectionFields {
		if len(own) == len(name) && strings.EqualFold(own, name) {
			return true
		}
	}
	for _, option := range h.options {
		if len(option) == len(name) && strings.EqualFold(option, name) {
			return true
		}
	}
	return false
}

// endToEnd removes from a reply's fields, in place, those that are not forwarded, and
// those whose names are no tokens.
func endToEnd(fields []wire.Field) []wire.Field {
	h, kept := hopByHopOf(fields), fields[:0]
	for _, f := range fields {
		if !h.has(f.Name) && wire.IsToken(f.Name) {
			kept = append(kept, f)
		}
	}
	return kept
}

// trailerFields removes from a trailer section, in place, the fields that it must not
// have: those that route or frame a message, and those that concern one connection (RFC
// 9110, section 6.5.1).
func trailerFields(fields []wire.Field) []wire.Field {
	kept := fields[:0]
	for _, f := range endToEnd(fields) {
		if !strings.EqualFold(f.Name, "Host") && !strings.EqualFold(f.Name, "Trailer") {
			kept = append(kept, f)
		}
	}
	return kept
}

// get returns the value of the first field with a name, and whether there is one.
func get(fields []wire.Field, name string) (string, bool) {
	for i := range fields {
		if len(fields[i].Name) == len(name) && strings.EqualFold(fields[i].Name, name) {
			return fields[i].Value, true
		}
	}
	return "", false
}

// listed reports whether the list in the fields with a name has an element.
func listed(fields []wire.Field, name, element string) bool {
	for i := range fields {
		if len(fields[i].Name) != len(name) || !strings.EqualFold(fields[i].Name, name) {
			continue
		}
		for e := range wire.Elements(fields[i].Value) {
			if strings.EqualFold(e, element) {
				return true
			}
		}
	}
	return false
}

// joined returns the values of the fields with a name as one list.
func joined(fields []wire.Field, name string) string {
	var values []string
	for i := range fields {
		if strings.EqualFold(fields[i].Name, name) {
			values = append(values, fields[i].Value)
		}
	}
	return strings.Join(values, ", ")
}

// viaMembers are this proxy's members of a Via field, for messages of HTTP/1.0, HTTP/1.1
// and HTTP/2 (RFC 9110, section 7.6.3).
type viaMembers [3]string

// viaHTTP2 is the index of HTTP/2. The index of HTTP/1 is its minor version.
const viaHTTP2 = 2

func newViaMembers(pseudonym string) viaMembers {
	return viaMembers{"1.0 " + pseudonym, "1.1 " + pseudonym, "2 " + pseudonym}
}

// appendVia adds this proxy's member to the last Via of fields, or as a new field.
func appendVia(fields []wire.Field, member string) []wire.Field {
	for i := len(fields) - 1; i >= 0; i-- {
		if strings.EqualFold(fields[i].Name, "Via") {
			fields[i].Value += ", " + member
			return fields
		}
	}
	return append(fields, wire.Field{Name: "Via", Value: member})
}

// wantsUpgrade returns the protocols to which a request offers to change, or "". An
// upgrade to HTTP/2 is ignored: its frames would carry requests that the policy has not
// judged.
func wantsUpgrade(fields []wire.Field) string {
	if _, ok := get(fields, "Upgrade"); !ok || !listed(fields, "Connection", "upgrade") || listed(fields, "Upgrade", "h2c") {
		return ""
	}
	return joined(fields, "Upgrade")
}
