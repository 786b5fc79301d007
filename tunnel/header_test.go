package tunnel

import (
	"strings"
	"testing"
)

func TestParseHeader(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want Field
		err  string
	}{
		{"X-A: b", field("X-A", "b"), ""},
		{"X-A:b", field("X-A", "b"), ""},
		{"X-A: b: c", field("X-A", "b: c"), ""},
		{"User-Agent:", field("User-Agent", ""), ""},
		{"X-A", Field{}, "needs a colon"},
		{"X A: b", Field{}, "not a token"},
		{": b", Field{}, "not a token"},
		{"X-A: b\r\nY: c", Field{}, "control character"},
		{"Host: b", Field{}, "cannot be set"},
		{"content-length: 5", Field{}, "cannot be set"},
		{"Transfer-Encoding: chunked", Field{}, "cannot be set"},
	} {
		t.Run(tt.in, func(t *testing.T) {
			got, err := ParseHeader(tt.in)
			switch {
			case tt.err != "":
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v, %v; want %q", got, err, tt.err)
				}
			case err != nil || got != tt.want:
				t.Errorf("got %v, %v; want %v", got, err, tt.want)
			}
		})
	}
}
