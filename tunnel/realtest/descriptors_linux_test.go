package realtest

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"culvert/tunnel/tunneltest"
)

// Issue 3, "Faults": descriptors run out at every step of a tunnel's opening.
// Whoever asks is answered, whatever opens works to the byte, nobody else
// notices, and when there are descriptors again all is as before.
func TestDescriptorsRunOut(t *testing.T) {
	p := startProxy(t, nil)
	echo := tunneltest.Start(t, tunneltest.Echo).Addr()
	stillThere := witness(t, p)
	base := p.held()
	refused, opened := 0, 0
	for left := range 10 {
		t.Run(fmt.Sprint(left, " left"), func(t *testing.T) {
			p.leave(left)
			conn, reply := p.askSlowly(t, echo, func() {
				stillThere()
				p.leave(-1) // whoever waits in the listener's queue is served now
			})
			switch {
			case conn != nil:
				opened++
				exchangeRandom(t, conn, 8<<20)
				conn.Close()
			case isLimitReached(reply):
				refused++
			default:
				t.Errorf("the answer is %q", reply)
			}
			stillThere()
			p.leave(-1)
			after := mustOpen(t, p, echo)
			exchangeRandom(t, after, 1<<20)
			after.Close()
			p.returnsTo(base)
		})
	}
	if refused == 0 || opened < 3 {
		t.Errorf("%d were refused and %d opened: the test tests nothing", refused, opened)
	}
}

// askSlowly asks for a tunnel. If there is no answer after a while, mend is
// called once.
func (p *proxyProcess) askSlowly(t *testing.T, target string, mend func()) (*net.TCPConn, string) {
	t.Helper()
	type answer struct {
		conn  *net.TCPConn
		reply string
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		conn, reply, err := openTunnel(p.addr, target, "")
		answers <- answer{conn, reply, err}
	}()
	var a answer
	select {
	case a = <-answers:
	case <-time.After(300 * time.Millisecond):
		mend()
		a = <-answers
	}
	if a.err != nil {
		t.Fatalf("after %q: %v", a.reply, a.err)
	}
	return a.conn, a.reply
}

// exchangeRandom sends random bytes through a tunnel to an echo, at full speed,
// and ends its half; the same bytes must come back, and then an end of file.
func exchangeRandom(t *testing.T, conn *net.TCPConn, size int) {
	t.Helper()
	conn.SetDeadline(time.Now().Add(3 * bound))
	text := make([]byte, size)
	rand.Read(text)
	go func() {
		conn.Write(text)
		conn.CloseWrite()
	}()
	if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, text) {
		t.Errorf("%d of %d bytes came back, %v; they are the same: %v", len(got), size, err, bytes.Equal(got, text))
	}
}

// Without a descriptor for pipes, bulk in tunnels that are open goes by buffer;
// once there are some again, pipes are used again.
func TestNoDescriptorForAPipe(t *testing.T) {
	p := startProxy(t, nil)
	echo := tunneltest.Start(t, tunneltest.Echo).Addr()
	stillThere := witness(t, p)
	base, pipes := p.held(), p.open("pipe:")
	first, second := mustOpen(t, p, echo), mustOpen(t, p, echo)
	for _, conn := range []net.Conn{first, second} { // the answer comes before the relay
		if err := talkOnce(conn); err != nil {
			t.Fatal(err)
		}
	}
	p.leave(0)
	exchangeRandom(t, first, 32<<20)
	if n := p.open("pipe:"); n != pipes {
		t.Fatalf("%d pipes were opened: the test tests nothing", (n-pipes)/2)
	}
	stillThere()
	p.leave(-1)
	exchangeRandom(t, second, 32<<20)
	if p.open("pipe:") == pipes {
		t.Error("no pipe was kept: bulk goes by buffer still")
	}
	first.Close()
	second.Close()
	p.returnsTo(base)
	for _, r := range p.records("tunnel close") {
		if r.Up != 32<<20+1 || r.Down != 32<<20+1 || r.Error != "" {
			t.Errorf("%+v", r)
		}
	}
}

// A lack of descriptors when the very first tunnel opens must not cost the ones
// after it their event loop.
func TestFirstTunnelWithoutDescriptors(t *testing.T) {
	echo := tunneltest.Start(t, tunneltest.Echo).Addr()
	for left := range 8 {
		p := startProxy(t, nil)
		loops := p.open("anon_inode:[eventpoll]")
		p.leave(left)
		conn, reply := p.askSlowly(t, echo, func() { p.leave(-1) })
		if conn != nil {
			exchangeRandom(t, conn, 1<<20)
			conn.Close()
		} else if !isLimitReached(reply) {
			t.Errorf("%d left: the answer is %q", left, reply)
		}
		p.leave(-1)
		conn = mustOpen(t, p, echo)
		exchangeRandom(t, conn, 1<<20)
		if p.open("anon_inode:[eventpoll]") == loops {
			t.Errorf("%d left at first: later tunnels are on no event loop", left)
		}
		conn.Close()
		p.end()
	}
}

// Descriptors run out while many clients come: those in the listener's queue
// wait, and are served when there are descriptors again.
func TestDescriptorsRunOutWhileAccepting(t *testing.T) {
	const clients = 50
	p := startProxy(t, nil)
	echo := tunneltest.Start(t, tunneltest.Echo).Addr()
	stillThere := witness(t, p)
	base := p.held()
	p.leave(0)
	conns := make([]net.Conn, clients)
	for i := range conns {
		conn, err := net.Dial("tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(3 * bound))
		fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n!", echo, echo)
		conns[i] = conn
	}
	eventually(p, "accept fails, or refuses", func() bool {
		return strings.Contains(p.errs.String(), "accept failed") || len(p.records("request")) > 0
	})
	stillThere()
	p.leave(-1)
	opened := 0
	for i, conn := range conns {
		conn.(*net.TCPConn).CloseWrite()
		text, err := io.ReadAll(conn)
		conn.Close()
		switch reply := string(text); {
		case err != nil:
			t.Errorf("client %d: %q and then %v", i, reply, err)
		case strings.HasPrefix(reply, "HTTP/1.1 200 ") && strings.HasSuffix(reply, "\r\n\r\n!"):
			opened++
		case !isLimitReached(reply):
			t.Errorf("client %d: %q", i, reply)
		}
	}
	t.Logf("%d of %d who came too early got a tunnel", opened, clients)
	stillThere()
	mustOpen(t, p, echo).Close()
	p.returnsTo(base)
}

// At --max-tunnels new ones are refused, the old ones work, and a place that
// becomes free is given again.
func TestMaxTunnels(t *testing.T) {
	t.Parallel()
	const most = 200
	p := startProxy(t, nil, "--max-tunnels", fmt.Sprint(most))
	crowd := startJob(t, "crowd", p.addr, startJob(t, "echo").line())
	closed, refused := 0, 0
	for _, step := range []struct {
		command          string
		done, refusedNow int
	}{
		{"open 300 64", most, 100},
		{"talk", most, 0},
		{"close 50", 50, 0},
		{"open 60 1", 50, 10},
		{"talk", most, 0},
		{"close 200", most, 0},
		{"open 200 200", most, 0},
		{"close 200", most, 0},
	} {
		done, no := crowd.crowd("%s", step.command)
		if done != step.done || no != step.refusedNow {
			t.Errorf("%s: %d went well and %d were refused, want %d and %d", step.command, done, no, step.done, step.refusedNow)
		}
		refused += no
		if strings.HasPrefix(step.command, "close") {
			closed += done
			eventually(p, "they are closed", func() bool { return len(p.records("tunnel close")) == closed })
		}
	}
	for _, r := range p.records("request") {
		if r.Status != 503 || r.Error != "connection_limit_reached" {
			t.Errorf("%+v", r)
		}
	}
	if n := len(p.records("request")); n != refused {
		t.Errorf("%d refusals are logged, %d came", n, refused)
	}
	p.end()
}
