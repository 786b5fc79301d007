package proxy

import (
	"crypto/tls"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/internal/vanish"
	"culvert/tunnel/internal/vanishtest"
	"culvert/tunnel/listen"
	"culvert/tunnel/tunneltest"
)

func init() { vanish.Usual = vanishtest.Pace }

// cutOff makes the peer conn vanish for the Server.
func cutOff(t *testing.T, conn net.Conn) {
	t.Helper()
	vanishtest.CutOff(t, sock.TCPOf(conn).(syscall.Conn))
}

// A client that vanishes with bytes on their way to it is found, in every protocol, and
// its tunnel ends with a reset for the target.
func TestVanishedClientIsFound(t *testing.T) {
	for _, protocol := range matrixProtocols {
		t.Run(protocol.name, func(t *testing.T) {
			t.Parallel()
			m := newMatrix(t, protocol, &Server{})
			targets := make(chan net.Conn, 1)
			ended := make(chan error, 1)
			target := tunneltest.Start(t, func(conn net.Conn) {
				targets <- conn
				ended <- drainErr(conn)
			})
			conn := m.open(target.Addr(), "hello")
			m.NextRecord(accesslog.EventOpen)
			origin := testkit.Receive(t, "the target's connection", targets)
			switch c := conn.(type) {
			case tunnel1:
				cutOff(t, c.matrixHalfConn)
			case tunnel2:
				cutOff(t, c.conn)
			}
			testkit.Send(t, origin, "bytes that never arrive")
			rec := m.NextRecord(accesslog.EventClose)
			rec.Want(t, "closed_by", "client")
			if err := testkit.Receive(t, "the target's connection to end", ended); err == nil {
				t.Error("the target got end of file, want a reset")
			}
		})
	}
}

// A target, and the parent of any kind on the way to it, that vanishes with bytes on
// their way to it is found.
func TestVanishedTargetIsFound(t *testing.T) {
	const name = "b.example:3128"
	for _, tt := range []struct {
		name  string
		start func(t *testing.T, silent tunneltest.Handler) (route, target string)
	}{
		{"target", func(t *testing.T, silent tunneltest.Handler) (string, string) {
			return "direct", tunneltest.Start(t, silent).Addr()
		}},
		{"http parent", func(t *testing.T, silent tunneltest.Handler) (string, string) {
			p := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Send("HTTP/1.1 200 OK\r\n\r\n"), tunneltest.Serve(silent))
			return "http://" + p.Addr(), name
		}},
		{"socks parent", func(t *testing.T, silent tunneltest.Handler) (string, string) {
			p := testkit.SOCKSThen(t, testkit.SOCKSRequest+testkit.SOCKSSucceeded, tunneltest.Serve(silent))
			return "socks5h://" + p.Addr(), name
		}},
		{"https parent", func(t *testing.T, silent tunneltest.Handler) (string, string) {
			pair, _, err := listen.SelfSigned()
			if err != nil {
				t.Fatal(err)
			}
			p := tunneltest.Start(t, func(conn net.Conn) {
				secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{pair}})
				secure.Read(make([]byte, 4096))
				secure.Write([]byte("HTTP/1.1 200 OK\r\n\r\n"))
				silent(secure)
			})
			return "https://" + p.Addr(), name
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			held := make(chan net.Conn, 1)
			route, target := tt.start(t, func(conn net.Conn) {
				held <- conn
				tunneltest.Silent(conn)
			})
			via := testkit.MustRoute(t, route)
			if strings.HasPrefix(route, "https") {
				via.Hops[0].TLS = &tunnel.TLSOptions{Insecure: true}
			}
			ts := startServer(t, &Server{Via: []ViaRule{{Route: via}}})
			conn := ts.Open(target)
			ts.NextRecord(accesslog.EventOpen)
			cutOff(t, testkit.Receive(t, "the connection of the target's side", held))
			testkit.Send(t, conn, "bytes that never arrive")
			ts.NextRecord(accesslog.EventClose).Want(t, "closed_by", "target")
			testkit.ExpectReset(t, conn, "")
		})
	}
}

// An origin that vanishes while it has to answer is found, and so is a client to which a
// reply is on its way.
func TestVanishedPeerOfAPlainRequestIsFound(t *testing.T) {
	t.Run("origin", func(t *testing.T) {
		t.Parallel()
		p := newPlainTest(t)
		client := p.begin("POST http://ORIGIN/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
		origin := p.origin.accept()
		origin.head()
		cutOff(t, origin.Conn)
		client.send("hello")
		a := proxytest.ReadAnswer(t, client.Conn)
		if a.Status != 504 {
			t.Errorf("the answer is %+v", a)
		}
		p.ts.NextRecord(accesslog.EventRequest).Want(t, "error", "connection_read_timeout")
	})
	t.Run("client", func(t *testing.T) {
		t.Parallel()
		p := newPlainTest(t)
		client, origin, _ := p.exchange(simpleGet)
		origin.send("HTTP/1.1 200 OK\r\n" + date + "\r\nevent: one\n")
		client.expect("HTTP/1.1 200 OK\r\n")
		cutOff(t, client.Conn)
		origin.send("event: two\n")
		p.ts.NextRecord(accesslog.EventRequest).Want(t, "closed_by", "client")
	})
}

// drainErr reads conn to its end, and returns the error that ended it.
func drainErr(conn net.Conn) error {
	conn.SetDeadline(time.Now().Add(testkit.Patience))
	for b := make([]byte, 512); ; {
		if _, err := conn.Read(b); err != nil {
			if err.Error() == "EOF" {
				return nil
			}
			return err
		}
	}
}
