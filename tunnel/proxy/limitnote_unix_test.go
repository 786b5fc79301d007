//go:build unix

package proxy

import (
	"strings"
	"testing"
)

func TestLimitNote(t *testing.T) {
	for _, tt := range []struct {
		limit, tunnels int
		want           string
	}{
		{0, 0, ""}, {0, 1 << 20, ""}, {1024, 0, ""}, {1024, 512, ""}, {1024, -1, ""}, {256, 0, ""},
		{20, 0, "this process may open 20 descriptors only"},
		{20, -1, "this process may open 20 descriptors only"},
		{1024, 513, "513 tunnels take 1026 descriptors, and this process may open 1024"},
		{20, 11, "11 tunnels take 22 descriptors"},
	} {
		if got := limitNote(tt.limit, tt.tunnels); !strings.HasPrefix(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%d tunnels, limit %d: %q", tt.tunnels, tt.limit, got)
		}
	}
}
