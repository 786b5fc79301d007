package realtest

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"culvert/tunnel/tunneltest"
)

// loadVariable is how long TestMixedLoad takes, and with it the peers of
// TestZeroWindow, up to a minute.
const loadVariable = "CULVERT_LOAD"

func loadTime(t *testing.T, short time.Duration) time.Duration {
	t.Helper()
	value := os.Getenv(loadVariable)
	if value == "" {
		return short
	}
	d, err := time.ParseDuration(value)
	if err != nil {
		t.Fatalf("%s: %v", loadVariable, err)
	}
	return d
}

// load is a culvert serve under load of many kinds, and what must be in its log
// at the end.
type load struct {
	*testing.T
	proxy *proxyProcess
	until time.Time
	kinds []*loadKind
}

// session is one tunnel or request, or a few, from the client's side.
type session func(l *load, k *loadKind, dice *rand.Rand) error

// loadKind is one way to use the proxy. Each has a target of its own, by which
// its records are told from the others'.
type loadKind struct {
	name   string
	target string // as the log has it
	session
	// serve is the target's side, if it is a tunnel's.
	serve func(k *loadKind, conn *net.TCPConn) error
	// torn tunnels are ended while bytes are on their way: no more can have
	// arrived than was relayed, and no more relayed than was sent.
	torn bool
	// what the records say of tunnels that end as they should; "" = anything.
	closedBy, broken string
	event            string // of the records; "" = tunnels
	status           int

	sessions                 atomic.Int64
	clientSent, clientGot    atomic.Int64
	targetSent, targetGot    atomic.Int64
	targetConns, targetEnded atomic.Int64
}

// Issue 3, "Faults": mixed load, with the counts adding up to the byte.
// CULVERT_LOAD=10m makes it a long one.
func TestMixedLoad(t *testing.T) {
	l := &load{T: t, until: time.Now().Add(loadTime(t, 4*time.Second)), kinds: loadKinds()}
	l.proxy = startProxy(t, nil, "--deny", "127.0.0.9", "--linger", "0")
	base := warm(t, l.proxy)
	origin := l.startTargets()
	defer origin.Close()
	var workers sync.WaitGroup
	for i, k := range l.kinds {
		for j := range 4 {
			dice := rand.New(rand.NewPCG(uint64(i), uint64(j)))
			workers.Go(func() {
				for more := true; more; more = time.Now().Before(l.until) {
					k.sessions.Add(1)
					if err := k.session(l, k, dice); err != nil {
						t.Errorf("%s: %v", k.name, err)
						return
					}
				}
			})
		}
	}
	workers.Wait()
	for _, k := range l.kinds {
		eventually(l, "the targets of "+k.name+" are done", func() bool { return k.targetEnded.Load() == k.targetConns.Load() })
	}
	origin.Close() // serve keeps connections to it
	l.proxy.returnsTo(base)
	l.proxy.end()
	l.compare()
}

// startTargets gives each kind the other end that it needs.
func (l *load) startTargets() *http.Server {
	origin := &http.Server{}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.Fatal(err)
	}
	for _, k := range l.kinds {
		switch {
		case k.serve != nil:
			l.listen(k)
		case k.event == "request" && k.target == "origin":
			k.target, origin.Handler = listener.Addr().String(), loadOrigin(k)
		case k.target == "unused":
			k.target = tunneltest.Unused(l)
		}
	}
	go origin.Serve(listener)
	return origin
}

func (l *load) listen(k *loadKind) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { listener.Close() })
	k.target = listener.Addr().String()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			k.targetConns.Add(1)
			go func() {
				defer k.targetEnded.Add(1)
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(6 * bound))
				if err := k.serve(k, conn.(*net.TCPConn)); err != nil && !k.torn {
					l.Errorf("%s: the target: %v", k.name, err)
				}
			}()
		}
	}()
}

// compare holds the log against what both sides counted.
func (l *load) compare() {
	events := map[string][]logRecord{}
	for _, event := range []string{"tunnel open", "tunnel close", "request"} {
		events[event] = l.proxy.records(event)
	}
	for _, k := range l.kinds {
		n, event := k.sessions.Load(), k.event
		if event == "" {
			event = "tunnel close"
			if opened := l.sum(events["tunnel open"], k); opened.records != n {
				l.Errorf("%s: %d tunnels are logged as open, %d were", k.name, opened.records, n)
			}
		}
		logged := l.sum(events[event], k)
		got := fmt.Sprintf("%d records, up %d, down %d; client sent %d, got %d; target sent %d, got %d", logged.records, logged.up, logged.down,
			k.clientSent.Load(), k.clientGot.Load(), k.targetSent.Load(), k.targetGot.Load())
		l.Logf("%-20s %s", k.name, got)
		ordered := func(a, b, c int64) bool { return a == b && b == c || k.torn && a <= b && b <= c }
		if logged.records != n || !ordered(k.targetGot.Load(), logged.up, k.clientSent.Load()) || !ordered(k.clientGot.Load(), logged.down, k.targetSent.Load()) {
			l.Errorf("%s: %d sessions, and %s", k.name, n, got)
		}
	}
}

// logSum is what records of a kind add up to.
type logSum struct{ records, wrong, up, down int64 }

func (l *load) sum(records []logRecord, k *loadKind) (sum logSum) {
	for _, r := range records {
		if r.Target != k.target {
			continue
		}
		sum.records++
		sum.up += r.Up
		sum.down += r.Down
		if r.Msg == "tunnel open" {
			continue
		}
		if wrong := k.closedBy != "" && (r.ClosedBy != k.closedBy || r.Error != k.broken) || k.status != 0 && r.Status != k.status; wrong {
			if sum.wrong++; sum.wrong == 1 {
				l.Errorf("%s: the first wrong record is %+v", k.name, r)
			}
		}
	}
	return sum
}

// open opens a tunnel for a session and counts the early bytes.
func (l *load) open(k *loadKind, early string) (*net.TCPConn, error) {
	conn, reply, err := openTunnel(l.proxy.addr, k.target, early)
	if err != nil {
		return nil, err
	}
	if conn == nil {
		return nil, fmt.Errorf("the answer is %q", reply)
	}
	k.clientSent.Add(int64(len(early)))
	conn.SetDeadline(time.Now().Add(6 * bound))
	return conn, nil
}

// stream is bytes that both sides can make, to compare what comes with.
type stream struct{ source *rand.ChaCha8 }

func newStream(seed uint64) *stream {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	return &stream{rand.NewChaCha8(key)}
}

// send writes n bytes of the stream in pieces of many sizes.
func (s *stream) send(to io.Writer, n int, count *atomic.Int64) error {
	b := make([]byte, 128<<10)
	for size := 1; n > 0; size = size*5%len(b) + 1 {
		piece := b[:min(n, size)]
		s.source.Read(piece)
		m, err := to.Write(piece)
		count.Add(int64(m))
		if n -= m; err != nil {
			return err
		}
	}
	return nil
}

// expect reads n bytes, which must be the stream's.
func (s *stream) expect(from io.Reader, n int, count *atomic.Int64) error {
	b, want := make([]byte, 64<<10), make([]byte, 64<<10)
	for n > 0 {
		m, err := from.Read(b[:min(n, len(b))])
		count.Add(int64(m))
		s.source.Read(want[:m])
		if string(b[:m]) != string(want[:m]) {
			return fmt.Errorf("other bytes came than were sent")
		}
		if n -= m; err != nil && n > 0 {
			return fmt.Errorf("%d bytes are missing: %w", n, err)
		}
	}
	return nil
}

// expectEnd reads the orderly end of a stream.
func expectEnd(from io.Reader) error {
	if n, err := from.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		return fmt.Errorf("%d bytes and %v instead of an end of file", n, err)
	}
	return nil
}
