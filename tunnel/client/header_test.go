package client_test

import (
	"strings"
	"testing"

	"culvert/tunnel/client"
	"culvert/tunnel/internal/clienttest"
)

func TestParseHeader(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want client.Field
		err  string
	}{
		{"X-A: b", clienttest.Field("X-A", "b"), ""},
		{"X-A:b", clienttest.Field("X-A", "b"), ""},
		{"X-A: b: c", clienttest.Field("X-A", "b: c"), ""},
		{"User-Agent:", clienttest.Field("User-Agent", ""), ""},
		{"X-A", client.Field{}, "needs a colon"},
		{"X A: b", client.Field{}, "not a token"},
		{": b", client.Field{}, "not a token"},
		{"X-A: b\r\nY: c", client.Field{}, "control character"},
		{"Host: b", client.Field{}, "cannot be set"},
		{"content-length: 5", client.Field{}, "cannot be set"},
		{"Transfer-Encoding: chunked", client.Field{}, "cannot be set"},
	} {
		t.Run(tt.in, func(t *testing.T) {
			got, err := client.ParseHeader(tt.in)
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
