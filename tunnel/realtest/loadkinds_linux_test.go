package realtest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"culvert/tunnel/tunneltest"
)

// loadKinds are the ways to use a proxy that TestMixedLoad mixes.
func loadKinds() []*loadKind {
	return []*loadKind{
		{name: "bulk up", session: planned(3<<20, 0), serve: servePlan(afterUp), closedBy: "client"},
		{name: "bulk down", session: planned(0, 3<<20), serve: servePlan(afterUp), closedBy: "client"},
		{name: "both ways at once", session: planned(2<<20, 2<<20), serve: servePlan(atOnce)},
		{name: "answer to the end", session: planned(64<<10, 512<<10), serve: servePlan(afterUp), closedBy: "client"},
		{name: "target ends first", session: planned(512<<10, 4<<10), serve: servePlan(beforeUp)},
		{name: "slow reader", session: plannedWith(0, 4<<20, some, slowly), serve: servePlan(afterUp), closedBy: "client"},
		{name: "zero window", session: plannedWith(0, 16<<20, whole, later), serve: servePlan(afterUp), closedBy: "client"},
		{name: "ping-pong", session: pingPong, serve: serveEcho, closedBy: "client"},
		{name: "client resets", session: resetAfterEcho, serve: serveUntilReset, closedBy: "client", broken: "connection_terminated"},
		{name: "target resets", session: expectReset, serve: serveReset, closedBy: "target", broken: "connection_terminated"},
		{name: "torn by the client", session: tear, serve: servePour, torn: true, closedBy: "client", broken: "connection_terminated"},
		{name: "torn by the target", session: pourUntilTorn, serve: serveTear, torn: true, closedBy: "target", broken: "connection_terminated"},
		{name: "denied", target: "127.0.0.9:80", session: expectRefusal(403), event: "request", status: 403},
		{name: "refused", target: "unused", session: expectRefusal(502), event: "request", status: 502},
		{name: "plain HTTP", target: "origin", session: plainRequests, event: "request", status: 200},
	}
}

// A plan is the first 24 bytes that a client sends: the streams' seed, and how
// many bytes go up behind it and down.
const planSize = 24

// order is when a target sends what is to go down.
type order int

const (
	afterUp  order = iota // once all has come up, to the end of file
	beforeUp              // and then its end of file, while the client goes on
	atOnce
)

// reader has a client read what comes down.
type reader func(l *load, conn *net.TCPConn) io.Reader

// planned is a session that sends up to up bytes, takes up to down, and ends
// each way by a half-close. The plan goes early, sometimes.
func planned(up, down int) session {
	return plannedWith(up, down, some, func(_ *load, conn *net.TCPConn) io.Reader { return conn })
}

func plannedWith(up, down int, size func(*rand.Rand, int) int, read reader) session {
	return func(l *load, k *loadKind, dice *rand.Rand) error {
		seed, nUp, nDown := dice.Uint64(), size(dice, up), size(dice, down)
		plan := binary.BigEndian.AppendUint64(nil, seed)
		plan = binary.BigEndian.AppendUint64(plan, uint64(nUp))
		plan = binary.BigEndian.AppendUint64(plan, uint64(nDown))
		early := dice.IntN(planSize + 1)
		conn, err := l.open(k, string(plan[:early]))
		if err != nil {
			return err
		}
		defer conn.Close()
		var sending sync.WaitGroup
		var failed error
		sending.Go(func() {
			n, err := conn.Write(plan[early:])
			k.clientSent.Add(int64(n))
			if err == nil {
				err = newStream(seed).send(conn, nUp, &k.clientSent)
			}
			failed = errors.Join(err, conn.CloseWrite())
		})
		from := read(l, conn)
		err = errors.Join(newStream(^seed).expect(from, nDown, &k.clientGot), expectEnd(from))
		sending.Wait()
		return errors.Join(err, failed)
	}
}

// some is a number up to n, small ones as likely as large ones.
func some(dice *rand.Rand, n int) int { return dice.IntN(1 + n>>dice.IntN(12)) }

// whole is n: more than all the buffers on the way take.
func whole(_ *rand.Rand, n int) int { return n }

// slowReader takes little at a time, and rests.
type slowReader struct{ io.Reader }

func (r slowReader) Read(b []byte) (int, error) {
	time.Sleep(200 * time.Microsecond)
	return r.Reader.Read(b[:min(len(b), 8<<10)])
}

func slowly(_ *load, conn *net.TCPConn) io.Reader { return slowReader{conn} }

// later does not read until the load is nearly over, at most a minute.
func later(l *load, conn *net.TCPConn) io.Reader {
	time.Sleep(min(time.Minute, time.Until(l.until)))
	return conn
}

func servePlan(when order) func(*loadKind, *net.TCPConn) error {
	return func(k *loadKind, conn *net.TCPConn) error {
		plan := make([]byte, planSize)
		n, err := io.ReadFull(conn, plan)
		k.targetGot.Add(int64(n))
		if err != nil {
			return err
		}
		seed, up, down := binary.BigEndian.Uint64(plan), int(binary.BigEndian.Uint64(plan[8:])), int(binary.BigEndian.Uint64(plan[16:]))
		take := func() error {
			return errors.Join(newStream(seed).expect(conn, up, &k.targetGot), expectEnd(conn))
		}
		give := func() error {
			return errors.Join(newStream(^seed).send(conn, down, &k.targetSent), conn.CloseWrite())
		}
		switch when {
		case afterUp:
			return errors.Join(take(), give())
		case beforeUp:
			return errors.Join(give(), take())
		}
		given := make(chan error, 1)
		go func() { given <- give() }()
		return errors.Join(take(), <-given)
	}
}

// sayAndHear sends a word and takes it back, n times.
func sayAndHear(k *loadKind, conn net.Conn, dice *rand.Rand, n int) error {
	for range n {
		seed, size := dice.Uint64(), 1+dice.IntN(2000)
		if err := newStream(seed).send(conn, size, &k.clientSent); err != nil {
			return err
		}
		if err := newStream(seed).expect(conn, size, &k.clientGot); err != nil {
			return err
		}
	}
	return nil
}

func pingPong(l *load, k *loadKind, dice *rand.Rand) error {
	conn, err := l.open(k, "")
	if err != nil {
		return err
	}
	defer conn.Close()
	return errors.Join(sayAndHear(k, conn, dice, 1+dice.IntN(40)), conn.CloseWrite(), expectEnd(conn))
}

// echo sends back what comes, up to limit bytes or the end.
func echo(k *loadKind, conn *net.TCPConn, limit int) error {
	b := make([]byte, 4<<10)
	for limit > 0 {
		n, err := conn.Read(b[:min(limit, len(b))])
		k.targetGot.Add(int64(n))
		if err != nil {
			return err
		}
		n, err = conn.Write(b[:n])
		k.targetSent.Add(int64(n))
		if limit -= n; err != nil {
			return err
		}
	}
	return nil
}

func serveEcho(k *loadKind, conn *net.TCPConn) error {
	if err := echo(k, conn, 1<<30); err != io.EOF {
		return err
	}
	return nil
}

// resetAfterEcho resets a tunnel on which nothing is on its way.
func resetAfterEcho(l *load, k *loadKind, dice *rand.Rand) error {
	conn, err := l.open(k, "")
	if err != nil {
		return err
	}
	err = sayAndHear(k, conn, dice, 1+dice.IntN(10))
	tunneltest.Reset(conn)
	return err
}

func serveUntilReset(k *loadKind, conn *net.TCPConn) error { return wantReset(echo(k, conn, 1<<30)) }

func wantReset(err error) error {
	if !errors.Is(err, syscall.ECONNRESET) {
		return fmt.Errorf("%v instead of a reset", err)
	}
	return nil
}

// resetAfter is how many bytes a target sends back before it resets.
const resetAfter = 1000

func expectReset(l *load, k *loadKind, dice *rand.Rand) error {
	conn, err := l.open(k, "")
	if err != nil {
		return err
	}
	defer conn.Close()
	seed := dice.Uint64()
	if err := newStream(seed).send(conn, resetAfter, &k.clientSent); err != nil {
		return err
	}
	if err := newStream(seed).expect(conn, resetAfter, &k.clientGot); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return wantReset(err)
}

func serveReset(k *loadKind, conn *net.TCPConn) error {
	err := echo(k, conn, resetAfter)
	tunneltest.Reset(conn)
	return err
}

// tear leaves in the middle of what the target pours.
func tear(l *load, k *loadKind, dice *rand.Rand) error {
	conn, err := l.open(k, "")
	if err != nil {
		return err
	}
	n, err := io.CopyN(io.Discard, onlyReader{conn}, int64(1+some(dice, 4<<20)))
	k.clientGot.Add(n)
	tunneltest.Reset(conn)
	return err
}

func servePour(k *loadKind, conn *net.TCPConn) error {
	n, err := pour(conn)
	k.targetSent.Add(n)
	return err
}

func pourUntilTorn(l *load, k *loadKind, _ *rand.Rand) error {
	conn, err := l.open(k, "")
	if err != nil {
		return err
	}
	defer conn.Close()
	n, _ := pour(conn)
	k.clientSent.Add(n)
	return nil
}

func serveTear(k *loadKind, conn *net.TCPConn) error {
	n, err := io.CopyN(io.Discard, onlyReader{conn}, 1+rand.Int64N(4<<20))
	k.targetGot.Add(n)
	tunneltest.Reset(conn)
	return err
}

func expectRefusal(status int) session {
	return func(l *load, k *loadKind, _ *rand.Rand) error {
		conn, reply, err := openTunnel(l.proxy.addr, k.target, "these bytes are nobody's")
		if conn != nil {
			conn.Close()
		}
		var got int
		if _, failed := fmt.Sscanf(reply, "HTTP/1.1 %d ", &got); failed != nil || got != status || err != nil {
			return fmt.Errorf("the answer is %q, %v", reply, err)
		}
		return nil
	}
}

// countingBody counts what the transport takes of a request's content.
type countingBody struct {
	from  io.Reader
	count *atomic.Int64
}

func (b countingBody) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	b.count.Add(int64(n))
	return n, err
}

// plainRequests posts some content to an origin that sends it back, over a
// connection or two that are kept.
func plainRequests(l *load, k *loadKind, dice *rand.Rand) error {
	transport := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: l.proxy.addr})}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 6 * bound}
	for i := range 1 + dice.IntN(20) {
		if i > 0 {
			k.sessions.Add(1)
		}
		seed, size := dice.Uint64(), some(dice, 1<<20)
		content := io.LimitReader(newStream(seed).source, int64(size))
		request, err := http.NewRequest("POST", "http://"+k.target+"/", countingBody{content, &k.clientSent})
		if err != nil {
			return err
		}
		if request.ContentLength = int64(size); dice.IntN(2) == 0 {
			request.ContentLength = -1 // in chunks
		}
		reply, err := client.Do(request)
		if err != nil {
			return err
		}
		err = errors.Join(newStream(seed).expect(reply.Body, size, &k.clientGot), expectEnd(reply.Body))
		reply.Body.Close()
		if err != nil || reply.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %w", reply.Status, err)
		}
	}
	return nil
}

// loadOrigin sends a request's content back.
func loadOrigin(k *loadKind) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		k.targetGot.Add(int64(len(text)))
		n, _ := w.Write(text)
		k.targetSent.Add(int64(n))
	}
}
