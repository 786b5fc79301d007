package client_test

import (
	"net"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/internal/clienttest"
	"culvert/tunnel/internal/h2"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"
)

// Many tunnels at once use as few connections as the proxy's limit of streams allows, and
// no stream is refused, even if the limit is received late.
func TestClientKeepsToTheProxysLimit(t *testing.T) {
	const limit, tunnels = 5, 32
	var refused, connects atomic.Int32
	proxy := tunneltest.Start(t, func(conn net.Conn) {
		connects.Add(1)
		cfg := h2.Config{MaxStreams: limit, Rejected: func(*h2.StreamError) { refused.Add(1) }}
		h2.Server(lateConn{conn}, cfg, func(s *h2.Stream, _ h2.Head) {
			_ = s.Respond([]h2.Field{{Name: ":status", Value: "200"}}, false)
			_, _ = s.Read(make([]byte, 1))
			s.Close()
		}).Wait()
	})
	c := clienttest.NewClient(t, testkit.MustRoute(t, "h2c://"+proxy.Addr()))
	var all sync.WaitGroup
	for range tunnels {
		all.Go(func() { clienttest.MustOpen(t, c, "example.test:443") })
	}
	all.Wait()
	if n, least := connects.Load(), int32((tunnels+limit-1)/limit); refused.Load() != 0 || n != least {
		t.Errorf("%d streams were refused, over %d connections; %d tunnels ask for %d", refused.Load(), n, tunnels, least)
	}
}

// lateConn is a conn that delays each write.
type lateConn struct{ net.Conn }

func (c lateConn) Write(b []byte) (int, error) {
	time.Sleep(20 * time.Millisecond)
	return c.Conn.Write(b)
}

// If Clone forgot a field, that field would have no effect in a probe, and along every
// route but the first.
func TestCloneCopiesEveryField(t *testing.T) {
	c := &client.Client{
		Route: testkit.MustRoute(t, "http://a.test:1"), Or: []tunnel.Route{testkit.MustRoute(t, "http://b.test:1")}, Header: []client.Field{clienttest.Field("A", "b")},
		Auth: client.AuthBasic, UserAgent: "x/1", Network: "tcp4", ConnectTimeout: 1, Timeout: 2, Resolver: &net.Resolver{}, KeepUnread: true,
		Negotiate: func(string) (client.Negotiator, error) { return nil, nil }, TLS: &tunnel.TLSOptions{}, Trace: &client.Trace{}, Watch: &client.Watch{},
	}
	from, to := reflect.ValueOf(c).Elem(), reflect.ValueOf(c.Clone()).Elem()
	for i := range from.NumField() {
		switch f := from.Type().Field(i); {
		case !f.IsExported():
		case from.Field(i).IsZero():
			t.Errorf("this test sets no %s", f.Name)
		case f.Type.Kind() == reflect.Func && from.Field(i).Pointer() != to.Field(i).Pointer(),
			f.Type.Kind() != reflect.Func && !reflect.DeepEqual(from.Field(i).Interface(), to.Field(i).Interface()):
			t.Errorf("%s is not copied", f.Name)
		}
	}
}

// A clone has its own connections, and so has a Client with another Watch. The Clients that
// Along returns use the Client's.
func TestWhoSharesConnections(t *testing.T) {
	var connects atomic.Int32
	proxy := tunneltest.Start(t, func(conn net.Conn) {
		connects.Add(1)
		h2.Server(conn, h2.Config{}, func(s *h2.Stream, _ h2.Head) {
			_ = s.Respond([]h2.Field{{Name: ":status", Value: "200"}}, false)
			_, _ = s.Read(make([]byte, 1))
			s.Close()
		}).Wait()
	})
	c := clienttest.NewClient(t, testkit.MustRoute(t, "h2c://"+proxy.Addr()))
	clienttest.MustOpen(t, c, "example.test:443")
	watched := c.Along(0)
	watched.Watch = &client.Watch{}
	for i, tt := range []struct {
		about string
		c     *client.Client
		more  int32
	}{{"the same", c, 0}, {"along its route", c.Along(0), 0}, {"a clone", c.Clone(), 1}, {"with a Watch", watched, 1}, {"with the same Watch", watched.Along(0), 0}} {
		before := connects.Load()
		conn, err := tt.c.Open(t.Context(), testkit.MustAuthority(t, "example.test:443"))
		if err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		t.Cleanup(func() { conn.Close(); tt.c.Close() })
		if n := connects.Load() - before; n != tt.more {
			t.Errorf("%s: %d connections more, want %d", tt.about, n, tt.more)
		}
	}
}
