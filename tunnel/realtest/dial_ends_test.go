//go:build unix

package realtest

import (
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"culvert/tunnel/tunneltest"
)

// Whoever started dial is gone, by SIGKILL, say: dial goes, though it has no
// deadline. As long as one end is held it stays.
func TestDialGoesWithWhoStartedIt(t *testing.T) {
	t.Parallel()
	came := make(chan struct{}, 1)
	silent := tunneltest.Start(t, func(conn net.Conn) {
		came <- struct{}{}
		tunneltest.Silent(conn)
	})
	words := []string{"--timeout", "0", "-x", "http://" + silent.Addr(), "--", "example.test:22"}
	t.Run("pipes", func(t *testing.T) {
		inR, inW := pipe(t)
		outR, outW := pipe(t)
		d := startDial(t, inR, outW, words...)
		outW.Close()
		<-came
		io.WriteString(inW, "SSH-2.0-x\r\n") // ssh does not wait
		inW.Close()
		outR.Close()
		d.wantExit(t, 128+int(syscall.SIGPIPE))
	})
	t.Run("input held", func(t *testing.T) {
		inR, _ := pipe(t)
		outR, outW := pipe(t)
		outR.Close()
		d := startDial(t, inR, outW, append([]string{"--timeout", "1s"}, words[2:]...)...)
		<-came
		d.wantExit(t, 9)
	})
	for _, scheme := range []string{"http", "https"} {
		t.Run("fdpass "+scheme, func(t *testing.T) {
			ours, theirs := rawSocketPair(t)
			d := startDial(t, nil, theirs, append([]string{"-F", "--timeout", "0", "-x", scheme + "://" + silent.Addr()}, words[4:]...)...)
			theirs.Close()
			<-came
			ours.Close()
			d.wantExit(t, 128+int(syscall.SIGPIPE))
			eventually(t, "no relay is left behind", func() bool { return len(relaysTo(t, silent.Addr())) == 0 })
		})
	}
}

// With --on-eof wait the target is not told of the end. It is over when nobody
// reads the answer any more.
func TestDialWaitsForNobody(t *testing.T) {
	t.Parallel()
	for _, held := range []bool{false, true} {
		target := tunneltest.Start(t, tunneltest.Echo)
		inR, inW := pipe(t)
		outR, outW := pipe(t)
		d := startDial(t, inR, outW, "-x", honest(t), "--on-eof", "wait", "--", target.Addr())
		outW.Close()
		io.WriteString(inW, "hello")
		got := make([]byte, 5)
		if _, err := io.ReadFull(outR, got); string(got) != "hello" || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
		inW.Close()
		if held {
			outR.SetReadDeadline(soon())
			if n, err := outR.Read(got); !os.IsTimeout(err) {
				t.Fatalf("it ended, %d bytes, %v, with its output read", n, err)
			}
		}
		outR.Close()
		d.wantExit(t, 0)
	}
}

// soon is after two of dial's looks for who is gone.
func soon() time.Time { return time.Now().Add(700 * time.Millisecond) }
