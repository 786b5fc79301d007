//go:build unix

package realtest

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/tunnel/tunneltest"

	"golang.org/x/sys/unix"
)

// The tunnel is the receiver's and dial has ended: the target's first words,
// and an answer, still come.
func TestDialHandsTheSocketOver(t *testing.T) {
	t.Parallel()
	target := tunneltest.Start(t, tunneltest.Greet("hello"))
	glue := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Send("HTTP/1.1 200 OK\r\n\r\nhello"), tunneltest.Serve(tunneltest.Echo))
	for _, tt := range []struct {
		name        string
		nonblocking bool // stdout
		words       []string
	}{
		{"proxy", false, []string{"-x", honest(t)}},
		{"words glued to the reply", false, []string{"-x", glue.Addr()}},
		{"direct", false, []string{"-x", "direct"}},
		{"two hops, non-blocking stdout", true, []string{"-x", honest(t), "-x", honest(t)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ours, theirs := rawSocketPair(t)
			if err := unix.SetNonblock(int(theirs.Fd()), tt.nonblocking); err != nil {
				t.Fatal(err)
			}
			before := statusFlags(t, theirs)
			d := startDial(t, theirs, theirs, append(tt.words, "--fdpass", "--", target.Addr())...)
			d.wantExit(t, 0)
			if d.stderr.Len() > 0 {
				t.Errorf("stderr %q", d.stderr.String())
			}
			if after := statusFlags(t, theirs); after != before {
				t.Errorf("flags of stdout after %x, before %x", after, before)
			}
			conn := received(t, ours)
			conn.SetDeadline(time.Now().Add(bound))
			io.WriteString(conn, " again")
			tunneltest.CloseWrite(conn)
			if got, err := io.ReadAll(conn); string(got) != "hello again" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

// A refusal hands nothing over; a receiver that is gone is as a closed stdout.
func TestDialHandsNothingOver(t *testing.T) {
	t.Parallel()
	refusing := tunneltest.StartProxy(t, tunneltest.Answer("HTTP/1.1 403 No\r\n\r\n")...)
	ours, theirs := rawSocketPair(t)
	startDial(t, theirs, theirs, "-F", "-x", refusing.Addr(), "--", "example.com:22").wantExit(t, 6)
	if n, _, err := unix.Recvfrom(int(ours.Fd()), make([]byte, 1), unix.MSG_DONTWAIT); err != unix.EAGAIN {
		t.Errorf("%d bytes came, %v", n, err)
	}
	ours.Close()
	startDial(t, theirs, theirs, "-F", "-x", honest(t), "--", tunneltest.Start(t, tunneltest.Silent).Addr()).wantExit(t, 128+int(syscall.SIGPIPE))
}

// Where the socket alone is not the tunnel, a process of its own relays behind
// one that is handed over, and ends with it; what goes wrong before is said by
// dial.
func TestDialHandsARelayOver(t *testing.T) {
	t.Parallel()
	_, log := serveWith(t, "--listen", "https://127.0.0.1:0", "--tls-self-signed", "--allow", "*:*", "--deny", "127.0.0.9")
	secure := secureAddress(t, log)
	plain, _ := serveWith(t, "--allow", "*:*")
	for _, words := range [][]string{{"-x", "https://" + secure, "-k"}, {"-x", "h2c://" + plain}, {"-x", plain, "-x", "h2://" + secure, "-k"}} {
		ours, theirs := rawSocketPair(t)
		d := startDial(t, theirs, theirs, append(words, "-v", "-F", "--", tunneltest.Start(t, tunneltest.Greet("hello")).Addr())...)
		d.wantExit(t, 0)
		if !strings.Contains(d.stderr.String(), "tunnel open after") {
			t.Errorf("%q: stderr %q", words, d.stderr.String())
		}
		conn := received(t, ours)
		conn.SetDeadline(time.Now().Add(bound))
		io.WriteString(conn, " again")
		got := make([]byte, len("hello again"))
		if _, err := io.ReadFull(conn, got); string(got) != "hello again" || err != nil {
			t.Errorf("%q: got %q, %v", words, got, err)
		}
		conn.Close()
	}
	eventually(t, "no relay is left behind", func() bool { return len(relaysTo(t, secure))+len(relaysTo(t, plain)) == 0 })

	_, theirs := rawSocketPair(t)
	d := startDial(t, theirs, theirs, "-x", "https://"+secure, "-k", "-F", "--", "127.0.0.9:22")
	d.wantExit(t, 6)
	if !strings.Contains(d.stderr.String(), "culvert dial: proxy "+secure+" refused 127.0.0.9:22") {
		t.Errorf("stderr %q", d.stderr.String())
	}
}

// A relay whose tunnel nobody waits for any more goes, though it has no deadline.
func TestDialLeavesNoRelayBehind(t *testing.T) {
	t.Parallel()
	came := make(chan struct{}, 1)
	silent := tunneltest.Start(t, func(conn net.Conn) {
		came <- struct{}{}
		tunneltest.Silent(conn)
	})
	_, theirs := rawSocketPair(t)
	d := startDial(t, theirs, theirs, "-F", "--timeout", "0", "-x", "https://"+silent.Addr(), "--", "example.test:22")
	<-came
	if len(relaysTo(t, silent.Addr())) != 1 {
		t.Fatal("the connection is no relay's")
	}
	d.Process.Kill()
	d.Wait()
	eventually(t, "no relay is left behind", func() bool { return len(relaysTo(t, silent.Addr())) == 0 })
}

// ssh takes a socket with a relay behind it as well, and leaves none.
func TestRealSSHTakesARelay(t *testing.T) {
	t.Parallel()
	server := sshd(t)
	_, log := serveWith(t, "--listen", "https://127.0.0.1:0", "--tls-self-signed", "--allow", "*:*")
	proxy := secureAddress(t, log)
	command := culvert(t) + " dial -k --fdpass -x https://" + proxy + " -- %h %p"
	payload := make([]byte, 32<<20)
	rand.Read(payload)
	want := sha256.Sum256(payload)
	cmd := server.command(t.Context(), command, useFdpass("cat; exit 3")...)
	cmd.Stdin = bytes.NewReader(payload)
	hash := sha256.New()
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = hash, &stderr
	timer := time.AfterFunc(3*bound, func() { cmd.Process.Kill() })
	defer timer.Stop()
	cmd.Run()
	if got := [32]byte(hash.Sum(nil)); got != want || cmd.ProcessState.ExitCode() != 3 {
		t.Errorf("the checksum is %x, want %x; exit %d, want 3; %s", got, want, cmd.ProcessState.ExitCode(), &stderr)
	}
	eventually(t, "no relay is left behind", func() bool { return len(relaysTo(t, proxy)) == 0 })
	eventually(t, "the tunnel is logged as HTTP/2's", func() bool {
		return strings.Contains(log.String(), `"msg":"tunnel close"`) && strings.Contains(log.String(), `"protocol":"http/2"`)
	})
}

// While the session lasts, ssh is alone with its socket; what it carries, and
// the exit code, come through.
func TestRealSSHTakesTheSocket(t *testing.T) {
	t.Parallel()
	server := sshd(t)
	payload := make([]byte, 8<<20)
	rand.Read(payload)
	want := sha256.Sum256(payload)
	eachProxy(t, func(t *testing.T, address string) {
		cmd := server.command(t.Context(), dialThrough(t, address, "--fdpass"), useFdpass("echo ready; cat; exit 3")...)
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(3*bound, func() { cmd.Process.Kill() })
		defer timer.Stop()
		ready := make([]byte, len("ready\n"))
		if _, err := io.ReadFull(stdout, ready); err != nil {
			t.Errorf("the session did not start: %v", err)
		}
		if left := children(t, cmd.Process.Pid); len(left) > 0 {
			t.Errorf("still running: %q", left)
		}
		go func() {
			stdin.Write(payload)
			stdin.Close()
		}()
		hash := sha256.New()
		io.Copy(hash, stdout)
		cmd.Wait()
		if got := [32]byte(hash.Sum(nil)); got != want {
			t.Errorf("the checksum is %x, want %x", got, want)
		}
		if got := cmd.ProcessState.ExitCode(); got != 3 {
			t.Errorf("ssh ended with %d, want 3; %s", got, &stderr)
		}
	})
}

func TestRealSSHWithFdpassPrintsTheRefusal(t *testing.T) {
	t.Parallel()
	server := sshd(t)
	address, _ := serveWith(t) // port 22, 80, 443 only
	out, err := server.command(t.Context(), dialThrough(t, address, "-F"), useFdpass("true")...).CombinedOutput()
	if want := "culvert dial: proxy " + address + " refused 127.0.0.1:" + server.port; err == nil || !strings.Contains(string(out), want) {
		t.Errorf("got %v and %q, want %q", err, out, want)
	}
}
