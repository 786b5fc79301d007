package realtest

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"culvert/tunnel/tunneltest"
)

func TestProbeInterruptedIsSilent(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("windows has no signals to send")
	}
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		for _, arg := range [][]string{nil, {"--count", "3"}} {
			t.Run(strings.Join(append([]string{sig.String()}, arg...), " "), func(t *testing.T) {
				asked := make(chan struct{})
				proxy := tunneltest.StartProxy(t, tunneltest.ReadHead, func(*tunneltest.Turn) bool { close(asked); return true }, tunneltest.Hold)
				cmd := exec.CommandContext(t.Context(), culvert(t), append([]string{"probe", "--proxy", "http://" + proxy.Addr(), "example.com:22"}, arg...)...)
				var out bytes.Buffer
				cmd.Stdout, cmd.Stderr = &out, &out
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				timer := time.AfterFunc(bound, func() { cmd.Process.Kill() })
				defer timer.Stop()
				select {
				case <-asked:
				case <-time.After(bound):
					t.Error("the proxy was not asked")
				}
				if err := cmd.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
				cmd.Wait()
				if code := cmd.ProcessState.ExitCode(); code != 128+int(sig) || out.Len() > 0 {
					t.Errorf("exit code %d, said %q; want %d and nothing", code, out.String(), 128+int(sig))
				}
			})
		}
	}
}

// A signal that ends a series has its own exit code, however many tries opened,
// and the sums tell how far it came.
func TestProbeCountInterrupted(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("windows has no signals to send")
	}
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		for _, tt := range []struct{ count, form, want string }{
			{"100", "--json=false", ": interrupted after 1 of 100 tries, 1 open\n"},
			{"100", "--json", "\"count\": 100,\n  \"done\": 1,\n  \"interrupted\": true,\n"},
			{"0", "--json=false", ": 1 try, 1 open\n"},
		} {
			asked := make(chan struct{})
			var n atomic.Int32
			proxy := tunneltest.Start(t, func(conn net.Conn) {
				conn.Read(make([]byte, 1024))
				if n.Add(1) == 1 {
					conn.Write([]byte("HTTP/1.1 200 OK\r\n\r\n"))
				} else {
					close(asked)
				}
				conn.Read(make([]byte, 1024))
			})
			cmd := exec.CommandContext(t.Context(), culvert(t), "probe", "--proxy", "http://"+proxy.Addr(), "--interval", "0", "--count", tt.count, tt.form, "example.com:22")
			var out bytes.Buffer
			cmd.Stdout = &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-asked:
			case <-time.After(bound):
				t.Error("the proxy was not asked again")
			}
			cmd.Process.Signal(sig)
			cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != 128+int(sig) || !strings.Contains(out.String(), tt.want) {
				t.Errorf("exit code %d, want %d, and %q in\n%s", code, 128+int(sig), tt.want, &out)
			}
		}
	}
}

// screen is what a terminal shows in the end of what was written to it, line by
// line, where nothing is longer than a line.
func screen(written string) []string {
	var lines []string
	for line := range strings.SplitSeq(written, "\n") {
		shown := ""
		for part := range strings.SplitSeq(line, "\r") {
			rest, wiped := strings.CutPrefix(part, "\x1b[K")
			if shown = rest + shown[min(len(rest), len(shown)):]; wiped {
				shown = rest
			}
		}
		lines = append(lines, shown)
	}
	return lines
}

// On a terminal a probe tells what it waits for, on a line that is gone when the
// report comes. Nowhere else, and not with -v, a byte of that is written.
func TestProbeProgress(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("script"); err != nil || runtime.GOOS != "linux" {
		t.Skip("needs script(1) of util-linux, for a pseudo-terminal")
	}
	proxy := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Hold)
	waiting := regexp.MustCompile("\r\x1b\\[Kwaiting [1-9] s for " + proxy.Addr() + " to answer CONNECT example\\.com:22")
	probe := culvert(t) + " probe --timeout 3500ms --proxy http://" + proxy.Addr() + " "
	for _, tt := range []struct {
		name, command string
		shown         bool
		first, last   string // lines on the terminal in the end
	}{
		{"both", probe + "example.com:22", true, "* CONNECT example.com:22 ", "verdict: silent "},
		{"stderr only", probe + "example.com:22 >/dev/null", true, "", ""},
		{"stdout only", probe + "example.com:22 2>/dev/null", false, "* CONNECT example.com:22 ", "verdict: silent "},
		{"verbose", probe + "-v example.com:22 >/dev/null", false, "culvert probe: to example.com:22 ", "culvert probe: > "},
		{"dumb", "TERM=dumb " + probe + "example.com:22 >/dev/null", false, "", ""},
		{"count", probe + "--count 1 example.com:22", true, "   1 ", "  failed     "},
		{"parallel", probe + "--count 2 --parallel 2 --interval 0 example.com:22 >/dev/null", false, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), bound)
			defer cancel()
			cmd := exec.CommandContext(ctx, "script", "-qec", tt.command, os.DevNull)
			cmd.Env = append(os.Environ(), "TERM=xterm", "NO_COLOR=1")
			out, _ := cmd.Output() // its exit code is the probe's
			text := strings.ReplaceAll(string(out), "\r\n", "\n")
			if waiting.MatchString(text) != tt.shown || !tt.shown && strings.Contains(text, "\x1b") {
				t.Errorf("%q", text)
			}
			lines := screen(strings.TrimRight(text, "\n"))
			first, last := lines[0], lines[len(lines)-1]
			if !strings.HasPrefix(first, tt.first) || !strings.HasPrefix(last, tt.last) || tt.first == "" && strings.Join(lines, "") != "" || strings.Contains(strings.Join(lines, "\n"), "waiting") {
				t.Errorf("on the terminal: %q", lines)
			}
		})
	}
}

// Ctrl-C wipes the line too.
func TestProbeProgressInterrupted(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("script"); err != nil || runtime.GOOS != "linux" {
		t.Skip("needs script(1) of util-linux, for a pseudo-terminal")
	}
	proxy := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Hold)
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	cmd := exec.CommandContext(ctx, "script", "-qec", culvert(t)+" probe --proxy http://"+proxy.Addr()+" example.com:22", os.DevNull)
	cmd.Env = append(os.Environ(), "TERM=xterm")
	keys, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out := bufio.NewReader(stdout)
	shown, err := out.ReadString('w') // of "waiting"
	if err != nil {
		t.Errorf("%q, %v", shown, err)
	}
	io.WriteString(keys, "\x03")
	rest, _ := io.ReadAll(out)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 || !strings.HasSuffix(string(rest), "\r\x1b[K") {
		t.Errorf("exit code %d, %q", code, rest)
	}
}
