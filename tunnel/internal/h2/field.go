package h2

import (
	"strconv"

	"golang.org/x/net/http2/hpack"
)

// Field is a field or pseudo-header field of a head. A Sensitive one is sent so
// that nobody on the way keeps it in a compression table.
type Field = hpack.HeaderField

// Head is the head of a request or reply, pseudo-header fields first, checked
// against RFC 9113, sections 8.2 and 8.3.
type Head struct {
	Fields    []Field
	EndStream bool // there is no content
	TooLarge  bool // Config.MaxHead was passed: Fields lacks the rest and was not checked
}

// Get returns the first value of a field or pseudo-header field, or "".
func (h Head) Get(name string) string { return get(h.Fields, name) }

// Values returns all values of a field.
func (h Head) Values(name string) []string {
	var values []string
	for _, f := range h.Fields {
		if f.Name == name {
			values = append(values, f.Value)
		}
	}
	return values
}

// Status returns a reply's status code, 0 in a request.
func (h Head) Status() int {
	code, _ := strconv.Atoi(h.Get(":status"))
	return code
}

func get(fields []Field, name string) string {
	for _, f := range fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}
