package relay

import (
	"io"
	"net"
	"testing"
	"time"

	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/testkit"
)

// relayPaths are the paths that bytes take through a relay.
var relayPaths = []struct {
	name string
	kind connKind
}{{"spliced", kindTCP}, {"copied", kindHidden}, {"https", kindHTTPS}}

func benchmarkTunnel(b *testing.B, kind connKind) *testTunnel {
	tt := &testTunnel{TB: b, launch: relayStarters[0].start}
	tt.connect(kind, kind)
	_ = tt.client.SetDeadline(time.Time{})
	_ = tt.target.SetDeadline(time.Time{})
	tt.start(Limits{Linger: time.Minute}) // as serve does
	return tt
}

func BenchmarkRelayBulk(b *testing.B) {
	for _, path := range relayPaths {
		b.Run(path.name, func(b *testing.B) {
			tt := benchmarkTunnel(b, path.kind)
			piece := make([]byte, 1<<20)
			b.SetBytes(int64(len(piece)))
			go func() {
				for range b.N {
					_, _ = tt.target.Write(piece)
				}
				_ = tt.target.(sock.HalfCloser).CloseWrite()
			}()
			sink := make([]byte, 1<<20)
			b.ResetTimer()
			for {
				if _, err := tt.client.Read(sink); err != nil {
					break
				}
			}
			b.StopTimer()
			if _, down := tt.relay.Counts(); down != int64(b.N)<<20 {
				b.Errorf("relayed %d bytes", down)
			}
		})
	}
}

func BenchmarkRelayPingPong(b *testing.B) {
	for _, path := range relayPaths {
		b.Run(path.name, func(b *testing.B) {
			tt := benchmarkTunnel(b, path.kind)
			go func() { _, _ = io.Copy(struct{ io.Writer }{tt.target}, struct{ io.Reader }{tt.target}) }()
			ball := []byte{1}
			b.ResetTimer()
			for range b.N {
				if _, err := tt.client.Write(ball); err != nil {
					b.Fatal(err)
				}
				if _, err := tt.client.Read(ball); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRelayIdleMemory measures tunnels that wait after some traffic: Go's memory
// for the relay, for the stacks of its goroutines and for its two connections.
func BenchmarkRelayIdleMemory(b *testing.B) {
	const tunnels = 500
	for _, path := range relayPaths {
		b.Run(path.name, func(b *testing.B) {
			for range b.N {
				idleMemory(b, path.kind, tunnels)
			}
		})
	}
}

func idleMemory(b *testing.B, kind connKind, tunnels int) {
	all := make([]testTunnel, tunnels)
	empty := testkit.GoMemory()
	for i := range all {
		all[i] = testTunnel{TB: b, launch: relayStarters[0].start}
		all[i].nearClient, all[i].client = kind.pair(b)
		all[i].nearTarget, all[i].target = kind.pair(b)
	}
	connected, descriptors := testkit.GoMemory(), openDescriptors(b)
	for i := range all {
		tt := &all[i]
		tt.results = make(chan Result, 1)
		tt.relay = tt.launch(Side{Conn: tt.nearClient}, Side{Conn: tt.nearTarget}, Limits{Linger: time.Minute}, func(result Result) { tt.results <- result })
		for _, way := range [][2]net.Conn{{tt.client, tt.target}, {tt.target, tt.client}} {
			testkit.Send(b, way[0], "a few bytes")
			testkit.Expect(b, way[1], "a few bytes")
		}
	}
	// Half of the memory of the connections belongs to the peers.
	memory := (connected-empty)/2 + testkit.GoMemory() - connected
	b.ReportMetric(float64(memory)/float64(tunnels)/1024, "KiB/tunnel")
	b.ReportMetric(2+float64(openDescriptors(b)-descriptors)/float64(tunnels), "fds/tunnel")
	for i := range all {
		_ = all[i].client.Close()
		_ = all[i].target.Close()
		all[i].wait()
	}
}
