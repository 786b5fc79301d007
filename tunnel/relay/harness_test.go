package relay

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"culvert/tunnel/internal/h2"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/listen"
)

// relayStarters are the relays that have to keep the rules.
var relayStarters = []struct {
	name  string
	start func(client, target Side, limits Limits, done func(Result)) Running
}{
	{"goroutines", startChecking},
}

// startChecking is Start with checks so frequent that no test waits long for one.
func startChecking(client, target Side, limits Limits, done func(Result)) Running {
	r := newRelay(client, target, limits, done)
	r.checkEvery = 20 * time.Millisecond
	r.begin()
	return r
}

// connKind is a kind of connection. pair makes two ends of one: near is for the relay,
// far for the test.
type connKind struct {
	name       string
	halfCloses bool
	resets     bool // it can be reset: it is a stream, or a TCP connection is beneath it
	pair       func(testing.TB) (near, far net.Conn)
}

var (
	kindTCP    = connKind{"tcp", true, true, testkit.TCPPair}
	kindHidden = connKind{"hidden tcp", true, true, hiddenPair}
	kindUnix   = connKind{"unix", true, false, testkit.UnixPair}
	kindTLS    = connKind{"tls", true, true, tlsPair}
	kindHTTPS  = connKind{"https client", true, true, securePair}
	kindStream = connKind{"http/2 stream", true, true, streamPair}
	kindMemory = connKind{"memory", true, false, testkit.MemoryPair}
	kindPipe   = connKind{"net.Pipe", false, false, func(testing.TB) (near, far net.Conn) { return net.Pipe() }}
)

// relayMatrix are pairs of client and target, of the same kind or of two kinds that
// take different paths through the relay.
var relayMatrix = [][2]connKind{
	{kindTCP, kindTCP}, {kindHidden, kindHidden}, {kindUnix, kindUnix}, {kindTLS, kindTLS}, {kindMemory, kindMemory},
	{kindStream, kindTCP}, {kindStream, kindStream}, {kindTLS, kindTCP}, {kindHTTPS, kindTCP}, {kindHTTPS, kindHTTPS}, {kindUnix, kindTCP}, {kindTCP, kindHidden},
}

// eachRelay runs test with every relay and every pair of kinds that fits.
func eachRelay(t *testing.T, fits func(client, target connKind) bool, test func(t *testing.T, tt *testTunnel)) {
	t.Helper()
	for _, starter := range relayStarters {
		for _, kinds := range relayMatrix {
			if fits != nil && !fits(kinds[0], kinds[1]) {
				continue
			}
			t.Run(starter.name+"/"+kinds[0].name+" to "+kinds[1].name, func(t *testing.T) {
				tt := &testTunnel{TB: t, launch: starter.start}
				tt.connect(kinds[0], kinds[1])
				test(t, tt)
			})
		}
	}
}

func bothReset(client, target connKind) bool { return client.resets && target.resets }

// testTunnel is a relay between two peers.
type testTunnel struct {
	testing.TB
	launch                 func(client, target Side, limits Limits, done func(Result)) Running
	client, target         net.Conn // the peers' ends
	nearClient, nearTarget net.Conn // the relay's ends
	relay                  Running
	results                chan Result
}

func (tt *testTunnel) connect(client, target connKind) {
	tt.nearClient, tt.client = client.pair(tt)
	tt.nearTarget, tt.target = target.pair(tt)
	for _, conn := range []net.Conn{tt.client, tt.target} {
		_ = conn.SetDeadline(time.Now().Add(testkit.Patience))
		tt.Cleanup(func() { _ = conn.Close() })
	}
}

func (tt *testTunnel) start(limits Limits) { tt.startEarly(limits, nil, nil) }

func (tt *testTunnel) startEarly(limits Limits, fromClient, fromTarget []byte) {
	tt.results = make(chan Result, 2)
	over := make(chan struct{}, 2)
	tt.relay = tt.launch(Side{tt.nearClient, fromClient}, Side{tt.nearTarget, fromTarget}, limits, func(result Result) {
		tt.results <- result
		over <- struct{}{}
	})
	tt.Cleanup(func() {
		tt.relay.End(ClosedByRevoked)
		select {
		case <-over:
		case <-time.After(testkit.Patience):
			tt.Error("the relay does not end")
		}
	})
}

// wait waits for the end of the relay and returns its result.
func (tt *testTunnel) wait() Result {
	tt.Helper()
	select {
	case result := <-tt.results:
		return result
	case <-time.After(testkit.Patience):
		tt.Fatal("the relay is not over")
	}
	return Result{}
}

// waitFor waits for an orderly end of the relay, for the reason given.
func (tt *testTunnel) waitFor(by ClosedBy) Result {
	tt.Helper()
	result := tt.wait()
	if result.ClosedBy != by || result.Err != nil {
		tt.Errorf("closed by %q with error %v, want %q and none", result.ClosedBy, result.Err, by)
	}
	return result
}

// waitBroken waits for the end of a relay that was broken by one side.
func (tt *testTunnel) waitBroken(by ClosedBy) {
	tt.Helper()
	result := tt.wait()
	var e *Broken
	if result.ClosedBy != by || !errors.As(result.Err, &e) {
		tt.Errorf("closed by %q with error %v, want %q and a broken connection", result.ClosedBy, result.Err, by)
	}
}

// stalled waits until the relay, which is full, moves no more bytes.
func stalled(tt *testTunnel) {
	tt.Helper()
	last, still := int64(0), 0
	testkit.Eventually(tt, "the relay is stalled", func() bool {
		up, down := tt.relay.Counts()
		if up+down == 0 || up+down != last {
			last, still = up+down, 0
		}
		still++
		return still > 50
	})
}

func hiddenPair(tb testing.TB) (near, far net.Conn) {
	near, far = testkit.TCPPair(tb)
	return testkit.HiddenConn{Conn: near}, far
}

func tlsPair(tb testing.TB) (near, far net.Conn) {
	near, far = testkit.TCPPair(tb)
	server := tls.Server(near, &tls.Config{Certificates: []tls.Certificate{testkit.TestCertificate()}})
	return server, shakenHands(tb, server, far)
}

// securePair is a client of an https listener, and the connection that the listener
// accepted.
func securePair(tb testing.TB) (near, far net.Conn) {
	l := listen.NewTLS(testkit.Listen(tb, "127.0.0.1:0"), &tls.Config{Certificates: []tls.Certificate{testkit.TestCertificate()}})
	defer l.Close()
	far, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	if near, err = l.Accept(); err != nil {
		tb.Fatal(err)
	}
	return near, shakenHands(tb, near.(*listen.Conn).Conn, far)
}

// shakenHands returns a TLS client on far after the handshake.
func shakenHands(tb testing.TB, server *tls.Conn, far net.Conn) net.Conn {
	tb.Helper()
	client := tls.Client(far, &tls.Config{InsecureSkipVerify: true})
	shaken := make(chan error, 1)
	go func() { shaken <- server.Handshake() }()
	if err := errors.Join(client.Handshake(), <-shaken); err != nil {
		tb.Fatal(err)
	}
	return client
}

// relayGoroutines counts the goroutines that are inside a relay.
func relayGoroutines() int {
	buf := make([]byte, 1<<20)
	stacks := string(buf[:runtime.Stack(buf, true)])
	return strings.Count(stacks, "relay.(*direction).run(") + strings.Count(stacks, "relay.(*relay).tick(")
}

// openDescriptors counts the open descriptors of this process.
func openDescriptors(tb testing.TB) int {
	tb.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		tb.Skip("open descriptors cannot be counted here: ", err)
	}
	return len(entries) - 1 // the directory's own
}

// streamPair is a tunnel over HTTP/2. The relay has the server's end.
func streamPair(tb testing.TB) (near, far net.Conn) {
	serverConn, clientConn := testkit.TCPPair(tb)
	accepted := make(chan *h2.Stream, 1)
	server := h2.Server(serverConn, h2.Config{}, func(s *h2.Stream, _ h2.Head) {
		_ = s.Respond([]h2.Field{{Name: ":status", Value: "200"}}, false)
		accepted <- s
	})
	client := h2.Client(clientConn, h2.Config{})
	tb.Cleanup(func() { client.Close(); server.Close(); client.Wait(); server.Wait() })
	s, err := client.Open(tb.Context(), []h2.Field{{Name: ":method", Value: "CONNECT"}, {Name: ":authority", Value: "a:1"}}, false)
	if err == nil {
		_, err = s.ReadHead(tb.Context())
	}
	if err != nil {
		tb.Fatal(err)
	}
	return h2.NetConn(<-accepted, h2.CodeConnect), s
}
