package proxy

import (
	"net"
	"testing"

	"culvert/tunnel/internal/proxytest"
)

// The command line prints the summary before it says that it listens. From then on the
// process's limits may be lowered, and Serve must not use the lower ones.
func TestSummarySettlesTheLimits(t *testing.T) {
	s := &Server{}
	s.Summary(&proxytest.FakeListener{At: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}})
	if s.run.table == nil || s.run.table.Limits().Tunnels == 0 || s.run.maxDescriptors != maxDescriptors() {
		t.Errorf("the table is %v, and at most %d descriptors are used, want %d", s.run.table, s.run.maxDescriptors, maxDescriptors())
	}
}
