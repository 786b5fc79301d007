package proxy

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/policy"
	"culvert/tunnel/relay"
	"culvert/tunnel/tunneltest"
)

// matrixEvent is an event in a tunnel's life, or a reason why there is no tunnel.
type matrixEvent struct {
	name   string
	server func(t *testing.T) *Server // nil = the zero Server
	run    func(m *matrix)
}

var matrixEvents = []matrixEvent{
	{"open", nil, matrixOpen},
	{"glued both ways", nil, matrixGlued},
	{"half-close by the client", nil, matrixHalfCloseClient},
	{"half-close by the target", nil, matrixHalfCloseTarget},
	{"reset by the client", nil, matrixResetClient},
	{"reset by the target", nil, matrixResetTarget},
	{"refused by policy", func(t *testing.T) *Server {
		return &Server{Policy: policy.Policy{Allow: []policy.Pattern{proxytest.MustPattern(t, "*:443")}}}
	}, func(m *matrix) {
		m.wantRefused("example.test:22", 403, "http_request_denied", "destination port 22 is not allowed here")
	}},
	{"407", func(*testing.T) *Server { return &Server{Verifier: proxytest.OneUser{User: "ada", Password: "secret"}} }, matrixCredentials},
	{"DNS failure", func(*testing.T) *Server {
		return &Server{Resolver: testkit.FakeResolver(func(_ context.Context, host string) ([]netip.Addr, error) {
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		})}
	}, func(m *matrix) { m.wantRefused("example.test:443", 502, "dns_error", "the name does not exist") }},
	{"dial refused", nil, func(m *matrix) {
		m.wantRefused(tunneltest.Unused(m.T), 502, "connection_refused", "connection refused")
	}},
	{"dial timeout", func(*testing.T) *Server { return &Server{ConnectTimeout: 30 * time.Millisecond} }, func(m *matrix) {
		m.wantRefused(testkit.Unanswered(m.T), 504, "connection_timeout", "the connection was not accepted in time")
	}},
	{"bulk", nil, matrixBulk},
	{"500 tunnels", nil, matrixMany},
	{"stalled reader", nil, matrixStalled},
	{"drain", nil, matrixDrain},
	{"drain that is cut", nil, matrixCut},
	{"client vanishes", nil, matrixVanish},
}

// What is promised of a CONNECT and of its relay holds in every protocol version.
func TestMatrix(t *testing.T) {
	for _, event := range matrixEvents {
		for _, protocol := range matrixProtocols {
			t.Run(event.name+"/"+protocol.name, func(t *testing.T) {
				s := &Server{}
				if event.server != nil {
					s = event.server(t)
				}
				event.run(newMatrix(t, protocol, s))
			})
		}
	}
}

func matrixOpen(m *matrix) {
	conn := m.open(tunneltest.Start(m.T, tunneltest.Echo).Addr(), "")
	testkit.Send(m.T, conn, "there and back")
	testkit.Expect(m.T, conn, "there and back")
	testkit.HalfClose(m.T, conn)
	testkit.ExpectLast(m.T, conn, "")
	m.wantClosed(relay.ClosedByClient, false, 14, 14)
}

// Bytes that came with the CONNECT reach the target first, and bytes that the target
// sends at once reach the client behind the 2xx.
func matrixGlued(m *matrix) {
	conn := m.open(tunneltest.Start(m.T, tunneltest.Greet("hello ")).Addr(), "early ")
	testkit.Send(m.T, conn, "late")
	testkit.HalfClose(m.T, conn)
	testkit.ExpectLast(m.T, conn, "hello early late")
	m.wantClosed(relay.ClosedByClient, false, 10, 16)
}

func matrixHalfCloseClient(m *matrix) {
	const size = 1 << 20
	target := tunneltest.Start(m.T, func(conn net.Conn) {
		asked, _ := io.ReadAll(conn)
		io.WriteString(conn, strings.Repeat(string(asked), size/len(asked)))
	})
	conn := m.open(target.Addr(), "")
	testkit.Send(m.T, conn, "abcd")
	testkit.HalfClose(m.T, conn)
	testkit.ExpectLast(m.T, conn, strings.Repeat("abcd", size/4))
	m.wantClosed(relay.ClosedByClient, false, 4, size)
}

func matrixHalfCloseTarget(m *matrix) {
	got := make(chan int, 1)
	target := tunneltest.Start(m.T, func(conn net.Conn) {
		io.WriteString(conn, "all of it")
		conn.(sock.HalfCloser).CloseWrite()
		n, _ := io.Copy(io.Discard, conn)
		got <- int(n)
	})
	conn := m.open(target.Addr(), "")
	testkit.ExpectLast(m.T, conn, "all of it")
	const size = 1 << 20
	testkit.Send(m.T, conn, strings.Repeat("x", size))
	testkit.HalfClose(m.T, conn)
	if n := testkit.Receive(m.T, "the target", got); n != size {
		m.T.Errorf("the target got %d bytes of %d", n, size)
	}
	m.wantClosed(relay.ClosedByTarget, false, size, 9)
}

// greeter is a target that sends hello and reports how its connection ends.
func (m *matrix) greeter() (addr string, end <-chan error) {
	ends := make(chan error, 1)
	return tunneltest.Start(m.T, func(conn net.Conn) {
		io.WriteString(conn, "hello")
		_, err := io.Copy(io.Discard, conn)
		ends <- err
	}).Addr(), ends
}

func matrixResetClient(m *matrix) {
	target, end := m.greeter()
	conn := m.open(target, "")
	testkit.Send(m.T, conn, "ping")
	testkit.Expect(m.T, conn, "hello")
	m.awaitUp(4)
	conn.reset()
	if err := testkit.Receive(m.T, "the target", end); !neterr.Reset(err) {
		m.T.Errorf("the target's connection ended with %v, want a reset", err)
	}
	m.wantClosed(relay.ClosedByClient, true, 4, 5)
}

// awaitUp waits until n bytes have reached the target of the only tunnel.
func (m *matrix) awaitUp(n int64) {
	m.T.Helper()
	testkit.Eventually(m.T, fmt.Sprintf("%d bytes are at the target", n), func() bool {
		m.server.run.mu.Lock()
		defer m.server.run.mu.Unlock()
		for r := range m.server.run.relays {
			up, _ := r.Counts()
			return up == n
		}
		return false
	})
}

func matrixResetTarget(m *matrix) {
	conn := m.open(tunneltest.Start(m.T, tunneltest.ResetAfter("hello", 4)).Addr(), "")
	other := m.open(tunneltest.Start(m.T, tunneltest.Echo).Addr(), "")
	testkit.Send(m.T, conn, "ping")
	m.wantReset(conn, "hello")
	m.wantClosed(relay.ClosedByTarget, true, 4, 5)
	testkit.Send(m.T, other, "still there") // the other tunnels are not disturbed
	testkit.Expect(m.T, other, "still there")
}

func matrixCredentials(m *matrix) {
	target := tunneltest.Start(m.T, tunneltest.Echo).Addr()
	other := m.open2xx(target, testkit.Basic("ada", "secret"))
	got := m.wantRefused(target, 407, "http_request_denied", "this proxy wants a user name and a password")
	if challenge := got.header.Get("Proxy-Authenticate"); !strings.HasPrefix(challenge, "Basic realm=") {
		m.T.Errorf("Proxy-Authenticate: %q", challenge)
	}
	m.wantRefused(target, 407, "http_request_denied", "the user name or the password is wrong", testkit.Basic("ada", "wrong"))
	testkit.Send(m.T, other, "still there")
	testkit.Expect(m.T, other, "still there")
}

// open2xx is open with field lines.
func (m *matrix) open2xx(target string, fields ...string) matrixConn {
	m.T.Helper()
	reply, conn := m.ask(target, "", fields...)
	if conn == nil {
		m.T.Fatalf("the answer is %+v", reply)
	}
	return conn
}

// bulkSize is the size of a transfer: 1 GiB in the run with real programs, less in
// others and under the race detector.
func bulkSize() int64 {
	if os.Getenv("CULVERT_REAL") == "1" && !testkit.UnderRace {
		return 1 << 30
	}
	return 32 << 20
}

// matrixBulk transfers known bytes in each direction and compares checksums.
func matrixBulk(m *matrix) {
	size := bulkSize()
	sum := func(from io.Reader, h hash.Hash) string {
		n, err := io.Copy(h, from)
		if err != nil || n != size {
			m.T.Errorf("%d bytes of %d, %v", n, size, err)
		}
		return fmt.Sprintf("%x", h.Sum(nil))
	}
	stream := func(seed byte) io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{seed}), size) }
	up := make(chan string, 1)
	target := tunneltest.Start(m.T, func(conn net.Conn) {
		conn.SetDeadline(time.Now().Add(5 * testkit.Patience))
		var both sync.WaitGroup
		both.Go(func() { up <- sum(conn, sha256.New()) })
		io.Copy(conn, stream('d'))
		conn.(sock.HalfCloser).CloseWrite()
		both.Wait()
	})
	conn := m.open(target.Addr(), "")
	conn.SetDeadline(time.Now().Add(5 * testkit.Patience))
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(conn, stream('u'))
		sent <- errors.Join(err, conn.CloseWrite())
	}()
	down := sum(conn, sha256.New())
	if want := sum(stream('d'), sha256.New()); down != want {
		m.T.Errorf("what came down is %s, want %s", down, want)
	}
	if err := <-sent; err != nil {
		m.T.Error(err)
	}
	if got, want := <-up, sum(stream('u'), sha256.New()); got != want {
		m.T.Errorf("what went up is %s, want %s", got, want)
	}
	rec := m.NextRecord(accesslog.EventClose)
	rec.WantNumber(m.T, "up", int(size))
	rec.WantNumber(m.T, "down", int(size))
}

// matrixMany has 500 tunnels open at once, each with bytes of its own.
func matrixMany(m *matrix) {
	const tunnels = 500
	target := tunneltest.Start(m.T, tunneltest.Echo).Addr()
	conns := make([]matrixConn, tunnels)
	for i := range conns {
		conns[i] = m.open(target, "")
	}
	var all sync.WaitGroup
	for i, conn := range conns {
		conn.SetDeadline(time.Now().Add(testkit.Patience)) // counted from here, not from when the first opened
		all.Go(func() {
			text := strings.Repeat(fmt.Sprintf("tunnel %d ", i), 2000)
			sent := make(chan error, 1)
			go func() {
				_, err := io.WriteString(conn, text)
				sent <- errors.Join(err, conn.CloseWrite())
			}()
			got, err := io.ReadAll(conn)
			if err := errors.Join(err, <-sent); err != nil || string(got) != text {
				m.T.Errorf("tunnel %d: %d bytes of %d, %v", i, len(got), len(text), err)
			}
		})
	}
	all.Wait()
	for range tunnels {
		m.NextRecord(accesslog.EventClose).Want(m.T, "closed_by", "client")
	}
	testkit.Eventually(m.T, "all slots are free", func() bool { return m.server.Open() == 0 })
}

// matrixStalled has a tunnel whose client does not read. That tunnel stalls, with bounded
// memory, and the others do not.
func matrixStalled(m *matrix) {
	const size, most = 64 << 20, 24 << 20 // most is the windows and socket buffers in between
	var mu sync.Mutex
	var taken int
	target := tunneltest.Start(m.T, func(conn net.Conn) {
		for b := make([]byte, 64<<10); ; {
			n, err := conn.Write(b)
			mu.Lock()
			taken += n
			full := taken >= size
			mu.Unlock()
			if err != nil || full {
				return
			}
		}
	})
	stuck := m.open(target.Addr(), "")
	before := -1
	testkit.Eventually(m.T, "the stalled tunnel takes no more", func() bool {
		mu.Lock()
		defer mu.Unlock()
		same := taken == before && taken > 0
		before = taken
		return same
	})
	if before > most {
		m.T.Errorf("%d bytes went into a tunnel whose client reads nothing", before)
	}
	other := m.open(tunneltest.Start(m.T, tunneltest.Echo).Addr(), "")
	for range 64 {
		testkit.Send(m.T, other, strings.Repeat("x", 16<<10))
		testkit.Expect(m.T, other, strings.Repeat("x", 16<<10))
	}
	if n, err := io.Copy(io.Discard, stuck); err != nil || n != size {
		m.T.Errorf("the stalled tunnel ended after %d bytes with %v", n, err)
	}
}

// matrixDrain shuts the Server down with time for an open tunnel to end by itself.
func matrixDrain(m *matrix) {
	conn := m.open(tunneltest.Start(m.T, tunneltest.Echo).Addr(), "")
	testkit.Send(m.T, conn, "before ")
	done := m.shutdown(m.T.Context())
	testkit.Send(m.T, conn, "and after")
	testkit.Expect(m.T, conn, "before and after")
	testkit.HalfClose(m.T, conn)
	testkit.ExpectLast(m.T, conn, "")
	if err := testkit.Receive(m.T, "Shutdown", done); err != nil {
		m.T.Errorf("Shutdown returned %v", err)
	}
	m.wantClosed(relay.ClosedByClient, false, 16, 16)
}

// matrixCut shuts the Server down without that time.
func matrixCut(m *matrix) {
	conn := m.open(tunneltest.Start(m.T, tunneltest.Echo).Addr(), "")
	testkit.Send(m.T, conn, "x")
	testkit.Expect(m.T, conn, "x")
	if err := m.server.Shutdown(cancelled()); !errors.Is(err, context.Canceled) {
		m.T.Errorf("Shutdown returned %v", err)
	}
	if _, err := io.ReadAll(conn); errors.Is(err, os.ErrDeadlineExceeded) {
		m.T.Error("the tunnel is still there")
	}
	m.wantClosed(relay.ClosedByDrain, false, 1, 1)
}

func matrixVanish(m *matrix) {
	target, end := m.greeter()
	conn := m.open(target, "")
	testkit.Expect(m.T, conn, "hello")
	conn.vanish()
	if err := testkit.Receive(m.T, "the target", end); !neterr.Reset(err) {
		m.T.Errorf("the target's connection ended with %v, want a reset", err)
	}
	m.wantClosed(relay.ClosedByClient, true, 0, 5)
	testkit.Eventually(m.T, "the slot is free", func() bool { return m.server.Open() == 0 })
}
