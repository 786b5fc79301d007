package realtest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Clients and targets that are to be killed, or that are so many that one
// process has not the descriptors for both, are processes of their own: this
// program again, with a job in its environment. A job ends with its stdin.

const jobVariable = "CULVERT_TEST_JOB"

// init takes the place of the tests in a process that has a job.
func init() {
	words := strings.Fields(os.Getenv(jobVariable))
	if len(words) == 0 {
		return
	}
	if err := runJob(words[0], words[1:]); err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func runJob(name string, arg []string) error {
	switch name {
	case "echo":
		return targetJob(echoSmall)
	case "source":
		return targetJob(func(conn net.Conn) { pour(conn) })
	case "sink":
		return targetJob(func(conn net.Conn) {
			fmt.Println("moving", leaveUnread(conn))
			select {} // holds the conn open
		})
	case "pull", "push":
		return clientJob(name, arg[0], arg[1])
	case "crowd":
		return crowdJob(arg[0], arg[1])
	case "net-http":
		return netHTTPJob(arg[0], arg[1])
	}
	return errors.New("unknown job " + name)
}

// onlyReader hides what io.Copy would splice with, for which it opens pipes.
type onlyReader struct{ io.Reader }

// echoSmall sends back what it gets, without the two pipes that io.Copy would
// hold for each conn.
func echoSmall(conn net.Conn) {
	b := make([]byte, 512)
	for {
		n, err := conn.Read(b)
		if err != nil {
			return
		}
		if _, err := conn.Write(b[:n]); err != nil {
			return
		}
	}
}

// pour writes zeroes until that fails, and returns how many went.
func pour(conn io.Writer) (n int64, err error) {
	b := make([]byte, 64<<10)
	for {
		m, err := conn.Write(b)
		if n += int64(m); err != nil {
			return n, err
		}
	}
}

// targetJob prints where it listens and serves until stdin ends.
func targetJob(serve func(net.Conn)) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				continue // the number of descriptors is what these tests play with
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// leaveUnread takes a MiB, waits until more is there, and leaves that: a conn
// killed now ends by a reset.
func leaveUnread(conn net.Conn) error {
	if _, err := io.CopyN(io.Discard, conn, 1<<20); err != nil {
		return err
	}
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	n, peekErr := 0, error(nil)
	err = raw.Read(func(fd uintptr) bool {
		n, _, peekErr = unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK)
		return peekErr != unix.EAGAIN
	})
	if err = errors.Join(err, peekErr); err == nil && n == 0 {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// clientJob opens a tunnel and pours into it, or leaves unread what comes; it
// says so once a MiB went.
func clientJob(name, proxy, target string) error {
	conn, _, err := openTunnel(proxy, target, "")
	if err != nil {
		return err
	}
	defer conn.Close()
	if name == "push" {
		_, err = conn.Write(make([]byte, 1<<20))
	} else {
		err = leaveUnread(conn)
	}
	fmt.Println("moving", err)
	if name == "push" {
		pour(conn)
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// openTunnel asks the proxy for a tunnel, with early bytes behind the head. The
// reply's head is returned too, and is all there is if conn is nil.
func openTunnel(proxy, target, early string) (conn *net.TCPConn, reply string, err error) {
	dialer := net.Dialer{Timeout: 3 * bound}
	dialled, err := dialer.Dial("tcp", proxy)
	if err != nil {
		return nil, "", err
	}
	conn = dialled.(*net.TCPConn)
	conn.SetDeadline(time.Now().Add(3 * bound))
	if _, err = fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n%s", target, target, early); err != nil {
		conn.Close()
		return nil, "", err
	}
	var head strings.Builder
	for one := make([]byte, 1); !strings.HasSuffix(head.String(), "\r\n\r\n"); {
		if _, err = io.ReadFull(conn, one); err != nil {
			conn.Close()
			return nil, head.String(), fmt.Errorf("after %q of a reply: %w", head.String(), err)
		}
		head.Write(one)
	}
	reply = head.String()
	if strings.HasPrefix(reply, "HTTP/1.1 200 ") {
		conn.SetDeadline(time.Time{})
		return conn, reply, nil
	}
	// The orderly end belongs to the answer: a reset may destroy one.
	_, err = io.Copy(io.Discard, conn)
	conn.Close()
	return nil, reply, err
}

// isLimitReached recognizes the refusal of what is too much.
func isLimitReached(reply string) bool {
	return strings.HasPrefix(reply, "HTTP/1.1 503 ") && strings.Contains(reply, "; error=connection_limit_reached")
}

// crowdMembers are the tunnels of a job that holds many.
type crowdMembers struct {
	proxy, target string
	mu            sync.Mutex
	conns         []net.Conn
	tally
}

// tally is what came of a crowd's command.
type tally struct {
	done, refused, broken int
	first                 error // what broke first
}

// crowdJob takes commands from stdin and prints a tally for each: "open N AT
// ONCE", where a byte must come back through each tunnel; "talk", the same once
// more; "close N".
func crowdJob(proxy, target string) error {
	c := &crowdMembers{proxy: proxy, target: target}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var command string
		var n, atOnce int
		fmt.Sscan(in.Text(), &command, &n, &atOnce)
		c.tally = tally{}
		switch command {
		case "open":
			c.each(n, atOnce, c.openOne)
		case "talk":
			conns := c.conns
			c.each(len(conns), 64, func(i int) error { return talkOnce(conns[i]) })
		case "close":
			for _, conn := range c.conns[:n] {
				conn.Close()
			}
			c.conns, c.done = c.conns[n:], n
		}
		fmt.Println(c.done, c.refused, c.broken, c.first)
	}
	return nil
}

var errRefused = errors.New("refused: the limit is reached")

// each calls do n times, by as many goroutines as are to be at it at once, and
// counts.
func (c *crowdMembers) each(n, atOnce int, do func(i int) error) {
	next := make(chan int)
	var all sync.WaitGroup
	for range atOnce {
		all.Go(func() {
			for i := range next {
				err := do(i)
				c.mu.Lock()
				switch {
				case err == nil:
					c.done++
				case err == errRefused:
					c.refused++
				default:
					if c.broken++; c.first == nil {
						c.first = err
					}
				}
				c.mu.Unlock()
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	all.Wait()
}

func (c *crowdMembers) openOne(int) error {
	conn, reply, err := openTunnel(c.proxy, c.target, "")
	switch {
	case err != nil:
		return err
	case conn == nil && isLimitReached(reply):
		return errRefused
	case conn == nil:
		return fmt.Errorf("the answer is %q", reply)
	}
	c.mu.Lock()
	c.conns = append(c.conns, conn)
	c.mu.Unlock()
	return talkOnce(conn)
}

// talkOnce sends a byte through a tunnel to an echo and waits for it.
func talkOnce(conn net.Conn) error {
	conn.SetDeadline(time.Now().Add(3 * bound))
	if _, err := conn.Write([]byte("!")); err != nil {
		return err
	}
	b := make([]byte, 1)
	if _, err := io.ReadFull(conn, b); err != nil || b[0] != '!' {
		return fmt.Errorf("%q came back, %w", b, err)
	}
	return nil
}

// job is such a process.
type job struct {
	testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startJob(t testing.TB, words ...string) *job {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	j := &job{TB: t, cmd: exec.Command(self)}
	j.cmd.Env = append(cleanEnviron(), jobVariable+"="+strings.Join(words, " "))
	j.cmd.Stderr = os.Stderr
	j.in, _ = j.cmd.StdinPipe()
	out, _ := j.cmd.StdoutPipe()
	j.out = bufio.NewReader(out)
	if err := j.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(j.kill)
	return j
}

// kill ends the process by SIGKILL and waits for it; again, it does nothing.
func (j *job) kill() {
	if j.cmd.ProcessState == nil {
		j.cmd.Process.Kill()
		j.cmd.Wait()
	}
}

// line reads what the job prints next.
func (j *job) line() string {
	j.Helper()
	timer := time.AfterFunc(6*bound, func() { j.cmd.Process.Kill() })
	defer timer.Stop()
	line, err := j.out.ReadString('\n')
	if err != nil {
		j.Fatalf("the job said %q, %v", line, err)
	}
	return strings.TrimSpace(line)
}

// crowd gives a crowd's job a command; nothing may break.
func (j *job) crowd(format string, arg ...any) (done, refused int) {
	j.Helper()
	fmt.Fprintf(j.in, format+"\n", arg...)
	line := j.line()
	var broken int
	if n, err := fmt.Sscan(line, &done, &refused, &broken); n != 3 {
		j.Fatalf("the crowd said %q: %v", line, err)
	}
	if broken > 0 {
		j.Fatalf("%s: %d went well, %d were refused, %d broke: %s", fmt.Sprintf(format, arg...), done, refused, broken, line)
	}
	return done, refused
}
