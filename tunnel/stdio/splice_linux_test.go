package stdio

import (
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"

	"golang.org/x/sys/unix"
)

// An output without a reader is reported as one, whether bytes are on their way to it
// or not.
func TestStdioOverFilesOutputClosed(t *testing.T) {
	for _, out := range stdioOutputs[:3] {
		for name, before := range map[string]bool{"before": true, "meanwhile": false} {
			t.Run(out.name+", "+name, func(t *testing.T) {
				gone := make(chan struct{})
				conn := tunnelTo(t, func(conn net.Conn) {
					conn.Write(make([]byte, 16<<20)) // more than stdout holds
					<-gone
					io.Copy(conn, testkit.Endless{})
				})
				stdout, reader := out.open(t)
				if before {
					reader.Close()
				} else {
					go func() {
						io.ReadFull(reader, make([]byte, 8<<20))
						reader.Close()
					}()
				}
				close(gone)
				_, err := relayed(t, Tunnel{Conn: conn, In: openInput(t, ""), Out: stdout})
				if !errors.Is(err, ErrOutputClosed) {
					t.Errorf("got %v", err)
				}
			})
		}
	}
}

// A full disk is reported as the error of a write, and the bytes written are counted.
func TestStdioOverFilesDiskFull(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	result, err := relayed(t, Tunnel{Conn: tunnelTo(t, tunneltest.Greet("hello")), In: openInput(t, ""), Out: full})
	if !errors.Is(err, unix.ENOSPC) || result.Down != 0 {
		t.Errorf("%+v, %v", result, err)
	}
}

// The target has to wait while stdout is not read, and nothing is lost.
func TestStdioOverFilesHoldsTargetBack(t *testing.T) {
	for _, out := range stdioOutputs[:3] {
		t.Run(out.name, func(t *testing.T) {
			stuck := make(chan int, 1)
			conn := tunnelTo(t, func(conn net.Conn) {
				wrote, block := 0, make([]byte, 64<<10)
				for {
					conn.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
					n, err := conn.Write(block)
					if wrote += n; err != nil {
						stuck <- wrote
						return
					}
				}
			})
			stdout, reader := out.open(t)
			type outcome struct {
				Result
				error
			}
			done := make(chan outcome, 1)
			go func() {
				s := Tunnel{Conn: conn, In: strings.NewReader(""), Out: stdout}
				result, err := s.Relay()
				done <- outcome{result, err}
			}()
			wrote := <-stuck
			if wrote > 64<<20 {
				t.Errorf("%d bytes were taken from the target and not read", wrote)
			}
			all := out.drain(stdout, reader)
			result := <-done
			if n := len(all()); result.error != nil || n != wrote || result.Down != int64(wrote) {
				t.Errorf("%d bytes of %d came out: %+v", n, wrote, result)
			}
		})
	}
}

// Urgent data stops splice(2), but not the tunnel: a read passes over it. If end of file
// follows, splice(2) mistakes urgent data for it.
func TestStdioOverFilesUrgentData(t *testing.T) {
	const text = "before behind"
	for _, out := range stdioOutputs[:3] {
		for name, stays := range map[string]bool{"then the target waits": true, "then it ends": false} {
			t.Run(out.name+", "+name, func(t *testing.T) {
				passed := make(chan struct{})
				conn := tunnelTo(t, func(conn net.Conn) {
					io.WriteString(conn, text[:7])
					sendUrgent(t, conn)
					io.WriteString(conn, text[7:])
					if !stays {
						return
					}
					select {
					case <-passed:
					case <-time.After(testkit.Patience):
						t.Error("the tunnel is stuck")
					}
				})
				stdout, reader := out.open(t)
				all := make(chan string, 1)
				go func() {
					start := make([]byte, len(text))
					n, _ := io.ReadFull(reader, start)
					close(passed)
					rest, _ := io.ReadAll(reader)
					all <- string(append(start[:n], rest...))
				}()
				result, err := relayed(t, Tunnel{Conn: conn, In: openInput(t, ""), Out: stdout})
				stdout.Close()
				if got := <-all; got != text || err != nil || result.Down != int64(len(text)) {
					t.Errorf("out %q, %+v, %v", got, result, err)
				}
			})
		}
	}
}

func sendUrgent(t *testing.T, conn net.Conn) {
	if within, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = within.NetConn()
	}
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Error(err)
		return
	}
	raw.Control(func(fd uintptr) { err = unix.Sendto(int(fd), []byte("!"), unix.MSG_OOB, nil) })
	if err != nil {
		t.Error(err)
	}
}

// A full stdout, which another process may have filled, stops the relay only until it is
// read.
func TestStdioOverFilesSharedOutput(t *testing.T) {
	stdout, reader := stdioOutputs[0].open(t)
	block := make([]byte, 64<<10)
	if _, err := stdout.Write(block); err != nil { // as much as the pipe holds
		t.Fatal(err)
	}
	conn := tunnelTo(t, tunneltest.Say("bye"))
	done := make(chan error, 1)
	go func() {
		s := Tunnel{Conn: conn, In: strings.NewReader(""), Out: stdout}
		_, err := s.Relay()
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("the relay ended while stdout was full: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	all := stdioOutputs[0].drain(stdout, reader)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := all(); len(got) != len(block)+3 || string(got[len(block):]) != "bye" {
		t.Errorf("%d bytes came out", len(got))
	}
}

// Bytes from and to a terminal are copied.
func TestStdioOverTerminal(t *testing.T) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer master.Close()
	raw, err := master.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	number := 0
	raw.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			number, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	})
	if err != nil {
		t.Skip(err)
	}
	terminal, err := os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer terminal.Close()
	if _, err := master.WriteString("hello\n\x04"); err != nil { // a line, and end of file
		t.Fatal(err)
	}
	r := relaying{Tunnel: &Tunnel{Conn: tunnelTo(t, tunneltest.Echo), In: terminal, Out: terminal}}
	result, err := r.run()
	if err != nil || result.Up != 6 || result.Down != 6 || r.spliced.up.Load()+r.spliced.down != 0 {
		t.Errorf("%+v, %v, %d bytes spliced", result, err, r.spliced.down)
	}
}
