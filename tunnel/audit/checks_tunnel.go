package audit

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// tunnels is about what an open tunnel carries, and how it ends.
var tunnels = []check{
	{"tunnel-all-bytes", "all 256 values of a byte pass, both ways", connectRule, must, needTarget, allBytes},
	{"tunnel-http-inside", "HTTP within the tunnel passes untouched", connectRule, must, needTarget, httpInside},
	{"tunnel-early", "bytes sent with the CONNECT reach the target first", connectRule, policyLevel, needTarget, earlyData},
	{"tunnel-greeting", "a target that speaks first is heard at once, and whole", connectRule, must, needTarget, greeting},
	{"tunnel-up", "many bytes up arrive unchanged", connectRule, must, needTarget, bulkUp},
	{"tunnel-down", "many bytes down arrive unchanged", connectRule, must, needTarget, bulkDown},
	{"tunnel-both", "many bytes both ways at once arrive unchanged", connectRule, must, needTarget, bulkBoth},
	{"tunnel-small", "single bytes pass at once", connectRule, policyLevel, needTarget, smallWrites},
	{"tunnel-client-eof", "what the client sent before its end is delivered", connectRule, must, needTarget, clientEnd},
	{"tunnel-answer-after-eof", "the target may answer after the client's end", connectRule, policyLevel, needTarget, answerAfterEnd},
	{"tunnel-target-eof", "what the target sent before its end is delivered", connectRule, must, needTarget, targetEnd},
	{"tunnel-send-after-eof", "the client may send after the target's end", connectRule, policyLevel, needTarget, sendAfterEnd},
	{"tunnel-target-closes", "the client is told when the target closes", connectRule, must, needTarget, targetCloses},
	{"tunnel-target-resets", "the client is told when the target resets", connectRule, must, needTarget, targetResets},
	{"tunnel-reset-seen", "a target's reset looks like one, not like an end of file", connectRule, policyLevel, needTarget, resetSeen},
	{"tunnel-target-gone", "a tunnel whose target is gone is given up", connectRule, policyLevel, needTarget, targetGone},
	{"tunnel-client-closes", "the target is told when the client closes", connectRule, must, needTarget, clientCloses},
	{"tunnel-client-resets", "the target is told when the client resets", connectRule, must, needTarget, clientResets},
	{"tunnel-parallel", "32 tunnels at once keep their bytes apart", connectRule, policyLevel, needTarget, parallelTunnels},
	{"tunnel-idle", "a silent tunnel stays open", connectRule, policyLevel, needTarget, idleTunnel},
}

func allBytes(t *trial) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	t.target.serve(echo)
	k := t.open("")
	_, _ = k.conn.Write(all)
	k.read(string(all))
}

func httpInside(t *trial) {
	const request = "GET http://a.example/ HTTP/1.1\r\nHost: b.example\r\nProxy-Authorization: Basic eA==\r\nConnection: close, x\r\n\r\n"
	t.target.serve(echo)
	k := t.open("")
	_, _ = io.WriteString(k.conn, request)
	k.read(request)
}

func earlyData(t *trial) {
	t.target.serve(echo)
	k := t.talk()
	k.send("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{auth}\r\nearly")
	k.opened()
	k.send(" and late")
	k.read("early and late")
}

func greeting(t *trial) {
	const hello = "SSH-2.0-audit\r\n"
	t.target.serve(func(conn net.Conn) {
		_, _ = io.WriteString(conn, hello)
		echo(conn)
	})
	k := t.open("")
	k.read(hello)
}

// stream returns n reproducible bytes.
func stream(seed byte, n int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{seed}), n)
}

// sumOf returns the SHA-256 sum of a stream.
func sumOf(seed byte, n int64) string {
	h := sha256.New()
	_, _ = io.Copy(h, stream(seed, n))
	return fmt.Sprintf("%x", h.Sum(nil))
}

// paced is a conn that gives each Read and each Write its own time, instead of one for
// the whole conversation.
type paced struct {
	net.Conn
	patience time.Duration
}

func (p paced) Read(b []byte) (int, error) {
	_ = p.SetReadDeadline(time.Now().Add(p.patience))
	return p.Conn.Read(b)
}

func (p paced) Write(b []byte) (int, error) {
	_ = p.SetWriteDeadline(time.Now().Add(p.patience))
	return p.Conn.Write(b)
}

// pace lets the talk go on for as long as bytes keep moving.
func (k *talk) pace() {
	k.conn = paced{k.conn, k.Patience}
	k.got.r = k.conn
}

// serveSum makes the target count and sum up Bulk bytes. It reports to the channel and
// not through the tunnel, as some proxies carry nothing back after the client's end of
// file.
func (t *trial) serveSum() <-chan string {
	got := make(chan string, 1)
	t.target.serve(func(conn net.Conn) {
		h := sha256.New()
		n, _ := io.CopyN(h, paced{conn, t.Patience}, t.Bulk)
		offer(got, fmt.Sprintf("%d bytes, sum %x", n, h.Sum(nil)))
	})
	return got
}

func bulkUp(t *trial) {
	got := t.serveSum()
	t.open("").sendSum(1, got)
}

// sendSum sends Bulk bytes of a stream, and fails the check unless serveSum reports
// the same.
func (k *talk) sendSum(seed byte, got <-chan string) {
	k.pace()
	if _, err := io.Copy(k.conn, stream(seed, k.Bulk)); err != nil {
		k.fail("it broke: %s", reason(err))
	}
	want := fmt.Sprintf("%d bytes, sum %s", k.Bulk, sumOf(seed, k.Bulk))
	if have := k.await(got, 2*k.Patience); have != want {
		k.fail("sent were %s; the target got %s", want, have)
	}
}

// await waits for a report of the target.
func (t *trial) await(from <-chan string, within time.Duration) string {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case s := <-from:
		return s
	case <-timer.C:
		return "nothing that ended in time"
	case <-t.ctx.Done():
		return "nothing: the audit was cancelled"
	}
}

func bulkDown(t *trial) {
	t.target.serve(func(conn net.Conn) {
		_, _ = io.Copy(conn, stream(2, t.Bulk))
		closeWrite(conn)
		_, _ = io.Copy(io.Discard, conn)
	})
	k := t.open("")
	k.pace()
	k.wantSum(2)
}

// wantSum reads Bulk bytes, and fails the check unless they are those of the stream.
func (k *talk) wantSum(seed byte) {
	h := sha256.New()
	n, err := io.CopyN(h, k.br, k.Bulk)
	if sum := fmt.Sprintf("%x", h.Sum(nil)); n != k.Bulk || sum != sumOf(seed, k.Bulk) {
		why := ""
		if err != nil {
			why = ": " + reason(err)
		}
		k.fail("sent were %d bytes, sum %s; %d came, sum %s%s", k.Bulk, sumOf(seed, k.Bulk), n, sum, why)
	}
}

func bulkBoth(t *trial) {
	t.target.serve(echo)
	k := t.open("")
	k.pace()
	var up sync.WaitGroup
	up.Go(func() { _, _ = io.Copy(k.conn, stream(3, k.Bulk)) })
	defer up.Wait()
	defer k.conn.Close()
	k.wantSum(3)
}

func smallWrites(t *trial) {
	t.target.serve(echo)
	k := t.open("")
	started := time.Now()
	const rounds = 20
	for range rounds {
		k.send("x")
		k.read("x")
	}
	if each := time.Since(started) / rounds; each > 30*time.Millisecond {
		t.warn("a round trip takes %d ms: bytes are held back", each.Milliseconds())
	}
}

func clientEnd(t *trial) {
	got := make(chan string, 1)
	t.target.serve(func(conn net.Conn) {
		all, err := io.ReadAll(conn)
		words := fmt.Sprintf("%q", all)
		if err != nil {
			words += " and a reset"
		}
		offer(got, words)
	})
	k := t.open("")
	k.send("last words")
	k.closeWrite()
	if have := t.await(got, t.Patience); have != `"last words"` {
		t.fail(`sent was "last words", then end of file; the target got %s`, have)
	}
}

func answerAfterEnd(t *trial) {
	t.target.serve(countBytes)
	k := t.open("")
	k.send("question")
	k.closeWrite()
	if got, err := io.ReadAll(io.LimitReader(k.br, 100)); string(got) != "8 bytes\n" {
		why := ""
		if err != nil {
			why = ", then: " + reason(err)
		}
		t.warn(`the answer is lost: "%s" came%s; who pipes a question in has to keep its end open`, got, why)
	}
}

func targetEnd(t *trial) {
	t.target.serve(func(conn net.Conn) {
		_, _ = io.WriteString(conn, "last words")
		closeWrite(conn)
		_, _ = io.Copy(io.Discard, conn)
	})
	k := t.open("")
	got, err := io.ReadAll(io.LimitReader(k.br, 100))
	if string(got) != "last words" || err != nil {
		t.fail(`the target sent "last words", then end of file; %s came`, describeRead(got, err))
	}
}

func sendAfterEnd(t *trial) {
	got := make(chan string, 1)
	t.target.serve(func(conn net.Conn) {
		closeWrite(conn)
		b := make([]byte, 5)
		n, _ := io.ReadFull(conn, b)
		offer(got, string(b[:n]))
	})
	k := t.open("")
	if n, err := k.br.Read(make([]byte, 1)); n > 0 || err != io.EOF {
		t.warn("the target's end of file does not come through")
	}
	k.send("still")
	if have := t.await(got, t.Patience); have != "still" {
		t.warn(`the target got "%s" instead of "still"`, have)
	}
}

func targetCloses(t *trial) {
	t.target.serve(func(net.Conn) {})
	k := t.open("")
	if closed, _ := k.readToEnd(t.Patience); !closed {
		t.fail("the connection stays open")
	}
}

// resetByTarget opens a tunnel whose connection the target resets.
func (t *trial) resetByTarget() *talk {
	t.target.serve(func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 1))
		reset(conn)
	})
	k := t.open("")
	k.send("x")
	return k
}

func targetResets(t *trial) {
	k := t.resetByTarget()
	if closed, _ := k.readToEnd(t.Patience); !closed {
		t.fail("the connection stays open")
	}
}

// resetSeen warns if a connection that was reset looks to the client as if it had
// ended in order.
func resetSeen(t *trial) {
	k := t.resetByTarget()
	switch _, err := k.br.ReadByte(); {
	case err == io.EOF:
		t.warn("it came as an end of file: what was cut off looks whole")
	case err == nil || timedOut(err):
		t.warn("the client is not told at all")
	}
}

// targetGone sends a little after the target has closed its connection. The proxy
// learns that by a reset when it passes the bytes on, and then should close both
// connections. A proxy that lingers to take what was under way (RFC 9112, section 9.6)
// gets the time for that.
func targetGone(t *trial) {
	t.target.serve(func(net.Conn) {})
	k := t.open("")
	if closed, _ := k.readToEnd(t.Patience); !closed {
		t.warn("the connection stays open")
	}
	linger, soon := t.Patience+time.Second, max(t.Quiet/10, time.Millisecond)
	k.setDeadline(linger + t.Patience)
	for _, wait := range []time.Duration{soon, soon, linger, soon, soon} {
		if _, err := io.WriteString(k.conn, "x"); err != nil {
			return
		}
		t.pause(wait)
	}
	t.warn("bytes for it are still taken after %s", rounded(linger))
}

// pause waits, unless the audit is cancelled.
func (t *trial) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.ctx.Done():
	}
}

func clientCloses(t *trial) {
	t.ends(func(conn net.Conn) { conn.Close() })
}

func clientResets(t *trial) { t.ends(reset) }

// ends fails the check unless the target notices how the client ends the connection.
func (t *trial) ends(end func(net.Conn)) {
	ready, over := make(chan string, 1), make(chan string, 1)
	t.target.serve(func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 1))
		offer(ready, "")
		_, _ = io.Copy(io.Discard, conn)
		offer(over, "ended")
	})
	k := t.open("")
	k.send("x")
	t.await(ready, t.Patience)
	end(k.conn)
	if have := t.await(over, t.Patience); have != "ended" {
		t.fail("the target's connection stays open")
	}
}

// reset closes a connection with a reset.
func reset(conn net.Conn) {
	if within, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = within.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	conn.Close()
}

func parallelTunnels(t *trial) {
	const many = 32
	t.target.serve(echo)
	talks := make([]*talk, many)
	for i := range talks {
		talks[i] = t.open("")
	}
	for i, k := range talks {
		k.send(fmt.Sprintf("tunnel %02d", i))
	}
	for i, k := range talks {
		k.setDeadline(t.Patience)
		k.read(fmt.Sprintf("tunnel %02d", i))
	}
}

func idleTunnel(t *trial) {
	if t.Idle <= 0 {
		t.skip("it takes its time: ask for it with --audit-idle TIME")
	}
	t.target.serve(echo)
	k := t.open("")
	k.setDeadline(t.Idle)
	started := time.Now()
	if closed, _ := k.readToEnd(t.Idle); closed {
		t.warn("it was closed after %s: the idle limit is no longer than that", rounded(time.Since(started)))
	}
	k.setDeadline(t.Patience)
	k.send("ping")
	k.read("ping")
	t.pass("after %s it carries bytes", t.Idle)
}
