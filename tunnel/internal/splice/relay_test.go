//go:build linux

package splice

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// pairs are the kinds of the two sides.
var pairs = [][2]kind{{kindTCP, kindTCP}, {kindUnix, kindUnix}, {kindTCP, kindUnix}}

// eachPair runs test for every pair of kinds.
func eachPair(t *testing.T, test func(t *testing.T, tt *tunnel, ls *Loops)) {
	for _, kinds := range pairs {
		t.Run(kinds[0].name+" to "+kinds[1].name, func(t *testing.T) {
			test(t, connect(t, kinds[0], kinds[1]), startLoops(t, 0))
		})
	}
}

func TestEarlyBytesGoFirst(t *testing.T) {
	eachPair(t, func(t *testing.T, tt *tunnel, ls *Loops) {
		say(t, tt.client, "late up")
		tt.addEarly(ls, Limits{}, "early up, ", "early down, ")
		say(t, tt.target, "late down")
		expect(t, tt.target, "early up, late up")
		expect(t, tt.client, "early down, late down")
		tt.Stop(7)
		if r := tt.waitFor(EndStopped); r.Up != 17 || r.Down != 21 || r.Code != 7 {
			t.Errorf("%+v", r)
		}
	})
}

// There are more early bytes than the socket accepts at once.
func TestEarlyBytesWaitForRoom(t *testing.T) {
	early := strings.Repeat("early ", 3<<20)
	tt := connect(t, kindTCP, kindTCP).addEarly(startLoops(t, 1), Limits{}, early, "")
	halfClose(t, tt.client)
	expectLast(t, tt.target, early)
	halfClose(t, tt.target)
	if r := tt.waitFor(EndClient); r.Up != int64(len(early)) {
		t.Errorf("%+v", r)
	}
}

func TestHalfCloseIsPassedOn(t *testing.T) {
	answer := strings.Repeat("an answer longer than any buffer on its way; ", 100_000)
	for _, first := range []End{EndClient, EndTarget} {
		eachPair(t, func(t *testing.T, tt *tunnel, ls *Loops) {
			tt.add(ls, Limits{})
			asks, answers := tt.client, tt.target
			if first == EndTarget {
				asks, answers = answers, asks
			}
			say(t, asks, "a question")
			halfClose(t, asks)
			expectLast(t, answers, "a question")
			go func() {
				_, _ = io.WriteString(answers, answer)
				_ = answers.CloseWrite()
			}()
			expectLast(t, asks, answer)
			if r := tt.waitFor(first); r.Up+r.Down != int64(len(answer)+10) {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestResetIsPassedOnAfterTheBytes(t *testing.T) {
	for _, first := range []End{EndClient, EndTarget} {
		tt := open(t)
		breaks, stays := tt.client, tt.target
		if first == EndTarget {
			breaks, stays = stays, breaks
		}
		say(t, breaks, "last words")
		eventually(t, "the last words are written", func() bool { up, down := tt.Counts(); return up+down == 10 })
		reset(breaks)
		if got, err := io.ReadAll(stays); string(got) != "last words" || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read %q, %v", got, err)
		}
		tt.waitBroken(first)
	}
}

// The loop does not read from a side after its end of file.
func TestResetAfterAHalfCloseIsSeen(t *testing.T) {
	tt := open(t)
	halfClose(t, tt.target)
	expectLast(t, tt.client, "")
	reset(tt.target)
	tt.waitBroken(EndTarget)
}

// The loop does not read from a side either while its bytes wait for a peer that does
// not read. The bytes get some time to arrive, but not for ever.
func TestResetBehindAStalledPeerIsSeen(t *testing.T) {
	tt := connect(t, kindTCP, kindTCP).add(startLoops(t, 1), Limits{Grace: 1})
	go func() { _, _ = io.Copy(tt.target, endless{}) }()
	tt.stalled()
	reset(tt.target)
	tt.waitBroken(EndTarget)
	if _, err := io.Copy(io.Discard, tt.client); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("no reset, but %v", err)
	}
}

// The bytes are still in the send queue of the loop when the reset comes.
func TestQueuedBytesLeaveBeforeTheReset(t *testing.T) {
	tt := open(t)
	go func() { _, _ = io.Copy(tt.target, endless{}) }()
	tt.stalled()
	halfClose(t, tt.client)      // ends one way
	expectLast(t, tt.target, "") // the loop has seen this before the reset
	reset(tt.target)
	got, err := io.Copy(io.Discard, tt.client)
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("no reset, but %v", err)
	}
	r := tt.wait()
	if r.Broke != EndTarget || r.First != EndClient || r.Down != got {
		t.Errorf("%d bytes arrived of %+v", got, r)
	}
}

func TestResetMidTransferEndsBoth(t *testing.T) {
	for _, first := range []End{EndClient, EndTarget} {
		tt := open(t)
		breaks, stays := tt.client, tt.target
		if first == EndTarget {
			breaks, stays = stays, breaks
		}
		for _, conn := range []net.Conn{tt.client, tt.target} {
			go func() { _, _ = io.Copy(conn, endless{}) }()
		}
		_, _ = io.CopyN(io.Discard, breaks, 8<<20)
		go func() { _, _ = io.Copy(io.Discard, stays) }()
		eventually(t, "both ways move", func() bool { up, down := tt.Counts(); return min(up, down) > 8<<20 })
		reset(breaks)
		tt.waitBroken(first)
	}
}

// A unix socket that is closed with unread bytes is a reset for its peer.
func TestResetOfAUnixSocketIsReported(t *testing.T) {
	tt := connect(t, kindUnix, kindUnix).add(startLoops(t, 1), Limits{})
	say(t, tt.client, "never read")
	say(t, tt.target, "last words")
	eventually(t, "bytes are unread", func() bool { up, down := tt.Counts(); return up+down == 20 })
	_ = tt.target.Close()
	expectLast(t, tt.client, "last words")
	tt.waitBroken(EndTarget)
}

func TestStopClosesBothOnce(t *testing.T) {
	eachPair(t, func(t *testing.T, tt *tunnel, ls *Loops) {
		tt.add(ls, Limits{})
		go func() { _, _ = io.Copy(tt.client, endless{}) }() // a writer is stuck, too
		expect(t, tt.target, string(make([]byte, 1<<20)))
		tt.Stop(2)
		tt.Stop(3)
		if r := tt.waitFor(EndStopped); r.Code != 2 {
			t.Errorf("%+v", r)
		}
		tt.Stop(4)
		for _, conn := range []net.Conn{tt.client, tt.target} {
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("a peer was left open")
			}
		}
		ls.Close() // nothing can come afterwards
		if len(tt.results) != 0 {
			t.Error("done was called again")
		}
	})
}

func TestCloseEndsWhatIsOpen(t *testing.T) {
	ls := must(Start(2, 0))(t)
	var all []*tunnel
	for range 20 {
		all = append(all, connect(t, kindUnix, kindUnix).add(ls, Limits{}))
	}
	ls.Close()
	for _, tt := range all {
		if len(tt.results) != 1 {
			t.Fatal("Close returned before done was called")
		}
		tt.waitFor(EndStopped)
	}
	late := connect(t, kindUnix, kindUnix).add(ls, Limits{})
	late.waitFor(EndStopped)
	expectLast(t, late.client, "")
	late.Stop(1)
	ls.Close()
}

// Descriptors that epoll does not accept are closed, and the result has the reason.
func TestAddOfWhatIsNoSocketFails(t *testing.T) {
	tt := connect(t, kindTCP, kindTCP)
	_ = unix.Close(tt.near[1])
	tt.near[1] = must(unix.Open("/proc/self/exe", unix.O_RDONLY|unix.O_CLOEXEC, 0))(t)
	ls := startLoops(t, 1)
	tt.add(ls, Limits{})
	if r := tt.wait(); r.First != EndFailed || !errors.Is(r.Err, syscall.EPERM) {
		t.Errorf("%+v", r)
	}
	if n := ls.Open(); n != 0 {
		t.Errorf("%d tunnels are open", n)
	}
	expectLast(t, tt.client, "")
}

// A done that blocks, as the write of a log line may, makes no tunnel wait.
func TestDoneHoldsNobodyUp(t *testing.T) {
	ls := startLoops(t, 1)
	over, release := make(chan struct{}), make(chan struct{})
	first, second := connect(t, kindTCP, kindTCP), connect(t, kindTCP, kindTCP).add(ls, Limits{})
	first.Tunnel = ls.Add(Side{FD: first.near[0]}, Side{FD: first.near[1]}, Limits{}, func(Result) { close(over); <-release })
	first.Stop(0)
	<-over
	say(t, second.client, "still served")
	expect(t, second.target, "still served")
	close(release)
}

// A read stops before urgent data, although there are more bytes.
func TestUrgentDataDoesNotStopTheRest(t *testing.T) {
	tt := connect(t, kindTCP, kindTCP)
	say(t, tt.client, "before ")
	fd := takeOut(t, tt.client)
	defer unix.Close(fd)
	if err := unix.Sendto(fd, []byte("!"), unix.MSG_OOB, nil); err != nil {
		t.Fatal(err)
	}
	say(t, tt.client, "behind")
	eventually(t, "all is there", func() bool { n, _ := unix.IoctlGetInt(tt.near[0], unix.SIOCINQ); return n >= 7 })
	tt.add(startLoops(t, 1), Limits{})
	expect(t, tt.target, "before behind")
}

// A read stops after a descriptor, although there are more bytes.
func TestPassedDescriptorsDoNotStopTheRest(t *testing.T) {
	tt := connect(t, kindUnix, kindTCP)
	conn := tt.client.(*net.UnixConn)
	if _, _, err := conn.WriteMsgUnix([]byte("before "), unix.UnixRights(0), nil); err != nil {
		t.Fatal(err)
	}
	say(t, conn, "behind")
	tt.add(startLoops(t, 1), Limits{})
	expect(t, tt.target, "before behind")
}
