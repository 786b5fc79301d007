package h2

import (
	"strconv"

	"golang.org/x/net/http2/hpack"
)

// Field is a field or pseudo-header field of a head. If Sensitive is set, it is sent as
// never indexed, so that no intermediary keeps it in a compression table (RFC 7541,
// section 7.1.3).
type Field = hpack.HeaderField

// Head is the head of a request or reply, pseudo-header fields first, checked
// against RFC 9113, sections 8.2 and 8.3.
type Head struct {
	Fields    []Field
	EndStream bool // there is no content
	TooLarge  bool // it exceeds Config.MaxHead: Fields is incomplete and was not checked
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

// Status returns the status code of a reply, 0 for a request.
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

// Weight returns the memory in bytes that the head holds, about.
func (h Head) Weight() (n int) {
	for i := range h.Fields {
		n += len(h.Fields[i].Name) + len(h.Fields[i].Value) + fieldSize
	}
	return n
}

// fieldSize is the size of a Field without its text.
const fieldSize = 48
