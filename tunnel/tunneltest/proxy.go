package tunneltest

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// Proxy is a proxy that plays a script on each conn and records every request head that
// it reads.
type Proxy struct {
	*Server
	script []Step

	mu    sync.Mutex
	heads []string
}

// Step is one step of a script. It returns false to end the conn.
type Step func(*Turn) bool

// Turn is a conn on which a script is played.
type Turn struct {
	Conn  net.Conn
	proxy *Proxy
	br    *bufio.Reader
	asked string // the authority of the last CONNECT

	framed bool // the client speaks HTTP/2
}

// StartProxy starts a Proxy on 127.0.0.1 and closes it at the end of the test.
func StartProxy(tb TB, script ...Step) *Proxy {
	tb.Helper()
	return StartProxyOn(tb, "tcp", "127.0.0.1:0", script...)
}

// StartProxyOn is like StartProxy, with the network and address to listen on.
func StartProxyOn(tb TB, network, address string, script ...Step) *Proxy {
	tb.Helper()
	p := &Proxy{script: script}
	p.Server = StartOn(tb, network, address, p.play)
	return p
}

// ListenProxy is like StartProxy, but for use outside a test. The caller closes the
// Proxy.
func ListenProxy(script ...Step) (*Proxy, error) {
	p := &Proxy{script: script}
	server, err := Listen("tcp", "127.0.0.1:0", p.play)
	p.Server = server
	return p, err
}

// Heads returns the request heads read so far, each with its blank line.
func (p *Proxy) Heads() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.heads...)
}

func (p *Proxy) play(conn net.Conn) {
	turn := &Turn{Conn: conn, proxy: p, br: bufio.NewReader(conn)}
	for _, step := range p.script {
		if !step(turn) {
			return
		}
	}
}

// Honest returns the script of a proxy that opens every tunnel.
func Honest() []Step {
	return []Step{ReadHead, Send("HTTP/1.1 200 OK\r\n\r\n"), Relay}
}

// Answer returns the script of a proxy or origin server that sends a reply to the request
// and closes.
func Answer(reply string) []Step { return []Step{ReadHead, Send(reply), Finish} }

// ReadHead is a Step that reads one request head through its blank line.
func ReadHead(t *Turn) bool {
	var head strings.Builder
	for {
		line, err := t.br.ReadString('\n')
		if err != nil {
			return false
		}
		if head.Len() == 0 {
			_, rest, _ := strings.Cut(line, " ")
			t.asked, _, _ = strings.Cut(rest, " ")
		}
		head.WriteString(line)
		if strings.TrimRight(line, "\r\n") == "" {
			break
		}
	}
	t.proxy.mu.Lock()
	defer t.proxy.mu.Unlock()
	t.proxy.heads = append(t.proxy.heads, head.String())
	return true
}

// Send returns a Step that sends the text in one write.
func Send(text string) Step {
	return func(t *Turn) bool {
		_, err := io.WriteString(t.Conn, text)
		return err == nil
	}
}

// SendBytewise returns a Step that sends the text one byte per write, each in a segment of
// its own.
func SendBytewise(text string) Step {
	return func(t *Turn) bool {
		for i := range len(text) {
			if _, err := t.Conn.Write([]byte{text[i]}); err != nil {
				return false
			}
		}
		return true
	}
}

// Repeat returns a Step that sends the text again and again until a write fails.
func Repeat(text string) Step {
	return func(t *Turn) bool {
		for {
			if _, err := io.WriteString(t.Conn, text); err != nil {
				return false
			}
		}
	}
}

// Finish is a Step that half-closes and waits until the client has closed too, so that no
// reset destroys what was sent.
func Finish(t *Turn) bool {
	CloseWrite(t.Conn)
	return Hold(t)
}

// Hold is a Step that sends nothing and waits until the client closes.
func Hold(t *Turn) bool {
	io.Copy(io.Discard, t.br)
	return false
}

// Cut is a Step that resets the conn.
func Cut(t *Turn) bool {
	Reset(t.Conn)
	return false
}

// Wait returns a Step that waits until the channel is closed.
func Wait(until <-chan struct{}) Step {
	return func(*Turn) bool {
		select {
		case <-until:
			return true
		case <-time.After(longest):
			return false
		}
	}
}

// Serve returns a Step that serves the tunnel by the handler of a target, as if the proxy
// had connected to one.
func Serve(target Handler) Step {
	return func(t *Turn) bool {
		target(&readAhead{t.Conn, t.br})
		return false
	}
}

// readAhead is a conn some of whose bytes are in a buffered reader.
type readAhead struct {
	net.Conn
	br *bufio.Reader
}

func (c *readAhead) Read(b []byte) (int, error) { return c.br.Read(b) }
func (c *readAhead) NetConn() net.Conn          { return c.Conn }
func (c *readAhead) CloseWrite() error          { CloseWrite(c.Conn); return nil }

// Relay is a Step that connects to the target of the last CONNECT and copies bytes and
// half-closes both ways.
func Relay(t *Turn) bool {
	target, err := net.Dial("tcp", t.asked)
	if err != nil {
		return false
	}
	defer target.Close()
	var up sync.WaitGroup
	up.Go(func() {
		io.Copy(target, t.br)
		CloseWrite(target)
	})
	io.Copy(t.Conn, target)
	CloseWrite(t.Conn)
	up.Wait()
	return false
}
