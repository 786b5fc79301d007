package relay

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/internal/vanish"
	"culvert/tunnel/internal/vanishtest"
)

func init() { vanish.Usual = vanishtest.Pace }

// ownPair is testkit.TCPPair, but near is a connection of package sock, and counts as
// more than a socket.
func ownPair(tb testing.TB) (near, far net.Conn) {
	l := testkit.Listen(tb, "127.0.0.1:0")
	far, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	if near, err = l.Accept(); err != nil {
		tb.Fatal(err)
	}
	return testkit.HiddenConn{Conn: near}, far
}

// vanishing are the kinds of connections whose peers are found, and the ways they take
// through the relay.
var vanishing = []connKind{
	{"tcp", true, true, testkit.TCPPair},
	{"hidden tcp", true, true, hiddenPair},
	{"tls", true, true, tlsPair},
	{"hidden tcp of package sock", true, true, ownPair},
}

// wantVanished checks the end of a relay whose client has vanished.
func (tt *testTunnel) wantVanished(first ClosedBy) {
	tt.Helper()
	r := testkit.Receive(tt, "the relay's end", tt.results)
	var broken *Broken
	if r.ClosedBy != first || !errors.As(r.Err, &broken) || broken.Side != ClosedByClient || !errors.Is(r.Err, syscall.ETIMEDOUT) {
		tt.Errorf("ended with %+v, want ETIMEDOUT of the client", r)
	}
}

func TestVanishedPeerIsFound(t *testing.T) {
	for _, kind := range vanishing {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			tt := &testTunnel{TB: t, launch: startChecking}
			tt.connect(kind, kindTCP)
			tt.start(Limits{})
			testkit.Send(t, tt.client, "before")
			testkit.Expect(t, tt.target, "before")
			vanishtest.CutOff(t, sock.TCPOf(tt.client))
			testkit.Send(t, tt.target, "after")
			tt.wantVanished(ClosedByClient)
			testkit.ExpectReset(t, tt.target, "")
		})
	}
}

// After its end of file a client is not read from, and must be found to have vanished all
// the same.
func TestVanishedPeerIsFoundInAHalfClosedTunnel(t *testing.T) {
	for _, kind := range vanishing {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			tt := &testTunnel{TB: t, launch: startChecking}
			tt.connect(kind, kindTCP)
			tt.start(Limits{})
			testkit.Send(t, tt.client, "before")
			testkit.HalfClose(t, tt.client)
			testkit.ExpectLast(t, tt.target, "before")
			vanishtest.CutOff(t, sock.TCPOf(tt.client))
			testkit.Send(t, tt.target, "after")
			tt.wantVanished(ClosedByClient)
		})
	}
}
