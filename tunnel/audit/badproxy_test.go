package audit

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// bad is a proxy with faults. The zero bad opens a tunnel to any loopback port that it
// finds in a CONNECT, and answers everything else with 400.
type bad struct {
	reply   string                             // for 2xx; "" = a good one
	refuses func(head string) (reply string)   // "" = open the tunnel
	plain   func(conn net.Conn, head string)   // an absolute-form request; nil = 400
	relay   func(client, target io.ReadWriter) // nil = both
	reads   bool                               // take the bytes after a refusal for the next request
	lingers func(client net.Conn)              // called before a refused connection is closed; nil = not called
	late    func(target net.Conn)              // called before the 2xx; nil = not called
}

var portInTarget = regexp.MustCompile(`([0-9]+)[^0-9]*$`)

func (b *bad) start(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			conn.SetDeadline(time.Now().Add(time.Minute))
			running.Go(func() {
				defer conn.Close()
				b.serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return l.Addr().String()
}

func (b *bad) serve(conn net.Conn) {
	br := bufio.NewReader(conn)
	for {
		var text strings.Builder
		for begun := false; ; {
			line, err := br.ReadString('\n')
			if err != nil {
				return
			}
			text.WriteString(line)
			if strings.TrimSpace(line) != "" {
				begun = true
			} else if begun {
				break
			}
		}
		head := text.String()
		first, _, _ := strings.Cut(head, "\n")
		words := strings.Fields(strings.TrimSuffix(strings.TrimSpace(first), "HTTP/1.1"))
		refusal := ""
		if b.refuses != nil {
			refusal = b.refuses(head)
		}
		switch {
		case refusal != "":
			io.WriteString(conn, refusal)
			if b.lingers != nil {
				b.lingers(conn)
			}
			if !b.reads {
				return
			}
		case len(words) > 1 && strings.HasPrefix(words[1], "http://") && words[0] != "CONNECT":
			if b.plain == nil {
				io.WriteString(conn, "HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n")
				return
			}
			b.plain(&behind{conn, br}, head)
			if !b.reads {
				return
			}
		default:
			b.connect(&behind{conn, br}, strings.Join(words, " "))
			return
		}
	}
}

// behind is a conn that is read through a reader, which may hold some of its bytes.
type behind struct {
	net.Conn
	br *bufio.Reader
}

func (c *behind) Read(b []byte) (int, error) { return c.br.Read(b) }
func (c *behind) CloseWrite() error          { closeWrite(c.Conn); return nil }

// connect opens a tunnel to the last number in the target.
func (b *bad) connect(conn *behind, target string) {
	reply := b.reply
	if reply == "" {
		reply = "HTTP/1.1 200 OK\r\n\r\n"
	}
	port := portInTarget.FindStringSubmatch(target)
	var far net.Conn
	if port != nil {
		host := "127.0.0.1:"
		if strings.Contains(target, "[::1]") {
			host = "[::1]:"
		}
		far, _ = net.Dial("tcp", host+port[1])
	}
	if far == nil { // as if a tunnel were open
		io.WriteString(conn, reply)
		return
	}
	defer far.Close()
	far.SetDeadline(time.Now().Add(time.Minute)) // something else may answer there
	if b.late != nil {
		b.late(far)
	}
	io.WriteString(conn, reply)
	if b.relay != nil {
		b.relay(conn, far)
		return
	}
	both(conn, far)
}

// both relays both ways, half-closes included.
func both(client, target io.ReadWriter) {
	var up sync.WaitGroup
	up.Go(func() {
		io.Copy(target, client)
		closeWrite(target.(net.Conn))
	})
	io.Copy(client, target)
	closeWrite(client.(net.Conn))
	up.Wait()
}

// mangledUp relays with the case of letters changed on the way up, mangledDown on the
// way down.
func mangledUp(client, target io.ReadWriter) {
	both(client, &mangler{Conn: target.(net.Conn), up: true})
}

func mangledDown(client, target io.ReadWriter) {
	both(client, &mangler{Conn: target.(net.Conn)})
}

type mangler struct {
	net.Conn
	up bool
}

func (m *mangler) Read(b []byte) (int, error) {
	n, err := m.Conn.Read(b)
	if !m.up {
		mangle(b[:n])
	}
	return n, err
}

func (m *mangler) Write(b []byte) (int, error) {
	if m.up {
		b = bytes.Clone(b)
		mangle(b)
	}
	return m.Conn.Write(b)
}

func mangle(b []byte) {
	for i, c := range b {
		if c|0x20 >= 'a' && c|0x20 <= 'z' {
			b[i] = c ^ 0x20
		}
	}
}

func (m *mangler) CloseWrite() error { closeWrite(m.Conn); return nil }

// deaf relays, but does not pass on the end of either side.
func deaf(client, target io.ReadWriter) {
	var up sync.WaitGroup
	up.Go(func() { io.Copy(target, client) })
	io.Copy(client, target)
	<-time.After(3 * testPatience) // longer than the audit waits
	up.Wait()
}

// sluggish delays each piece; idle closes a tunnel that is silent.
func sluggish(client, target io.ReadWriter) {
	b := make([]byte, 1024)
	for {
		n, err := client.Read(b)
		if err != nil {
			return
		}
		<-time.After(50 * time.Millisecond)
		target.Write(b[:n])
		if n, err = target.Read(b); err != nil {
			return
		}
		client.Write(b[:n])
	}
}

func idle(client, target io.ReadWriter) {
	client.(net.Conn).SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	io.Copy(target, client)
}

// blind passes a plain request on unchanged, and then relays both ways.
func blind(conn net.Conn, head string) {
	port := regexp.MustCompile(`http://[^/]*:([0-9]+)`).FindStringSubmatch(head)
	if port == nil {
		return
	}
	origin, err := net.Dial("tcp", "127.0.0.1:"+port[1])
	if err != nil {
		return
	}
	defer origin.Close()
	origin.SetDeadline(time.Now().Add(time.Minute))
	io.WriteString(origin, head)
	both(conn, origin)
}

// byItself answers a plain request without the origin.
func byItself(conn net.Conn, head string) {
	io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nxx")
}

// badHTTP2 is a proxy over HTTP/2 in clear that changes what it carries up or down,
// and ends every tunnel as if it had ended in order.
func badHTTP2(t *testing.T, up bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 1 { // without faults
			if r.Method == http.MethodConnect {
				conn, rw, _ := http.NewResponseController(w).Hijack()
				defer conn.Close()
				(&bad{}).connect(&behind{conn, rw.Reader}, r.Host)
			}
			return
		}
		far, err := net.Dial("tcp", r.Host)
		if err != nil {
			panic(http.ErrAbortHandler) // a reset instead of an answer
		}
		defer far.Close()
		defer context.AfterFunc(r.Context(), func() { far.Close() })()
		flushed := http.NewResponseController(w)
		flushed.Flush()
		m := &mangler{Conn: far, up: up}
		go func() {
			io.Copy(m, r.Body)
			m.CloseWrite()
		}()
		b := make([]byte, 4096)
		for {
			n, err := m.Read(b)
			w.Write(b[:n])
			flushed.Flush()
			if err != nil {
				return
			}
		}
	})
	s := &http.Server{Handler: handler, Protocols: new(http.Protocols), ErrorLog: log.New(io.Discard, "", 0)}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-served })
	return l.Addr().String()
}
