package tunnel

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"time"
)

// serveUpgrade relays a change of protocol, as WebSocket's (RFC 9110, section
// 7.8): the request goes out on a connection of its own, and a 101 makes a
// tunnel of both. A reply that is no 101 is forwarded like any other. Through a
// parent the connection is a tunnel.
func (x *plainExchange) serveUpgrade() bool {
	s := x.c.server
	if e := s.admit(x.c.addr, x.target); e != nil {
		x.c.refuse(x.rec, e, false)
		return false
	}
	q := &connectRequest{at: x.c.at, rec: x.rec, client: x.c.addr}
	next, e := s.reach(s.run.ctx, q, x.target)
	if e != nil {
		s.run.slots.release(x.c.addr)
		x.c.refuse(x.rec, e, false)
		return false
	}
	upstream := &Conn{Conn: next.conn, early: next.early}
	reply, br, err := x.askUpgrade(upstream)
	if err == nil && reply.StatusCode == http.StatusSwitchingProtocols {
		if err = x.switchProtocols(reply); err == nil {
			x.rec.Status = reply.StatusCode
			early := make([]byte, br.Buffered())
			io.ReadFull(br, early)
			s.tunnel(q, x.c.give(), relaySide{conn: next.conn, early: early})
			return false
		}
	}
	defer upstream.Close()
	s.run.slots.release(x.c.addr)
	x.interim.end()
	if err != nil {
		x.c.refuse(x.rec, transportError(err, x.target), false)
		return false
	}
	keep, err := x.respond(reply)
	x.finish(reply.StatusCode, err)
	return keep && err == nil
}

// askUpgrade sends the request and reads the reply's head. The origin has as
// long for it as a connection may take; a client that leaves is noticed.
func (x *plainExchange) askUpgrade(upstream *Conn) (*http.Response, *bufio.Reader, error) {
	ctx, cancel := context.WithCancel(x.c.server.run.ctx)
	defer cancel()
	route := x.route
	x.route = Route{} // the way is open: the origin gets origin-form
	out := x.outgoing(ctx)
	x.route = route
	out.Header["Connection"], out.Header["Upgrade"] = []string{"Upgrade"}, []string{x.upgrade}
	release := interruptible(ctx, upstream)
	defer release()
	watch := x.watch(cancel)
	defer watch.stop()
	if err := out.Write(upstream); err != nil {
		return nil, nil, err
	}
	br := bufio.NewReader(upstream)
	for {
		reply, err := http.ReadResponse(br, out)
		if err != nil {
			return nil, nil, err
		}
		if reply.StatusCode >= 200 || reply.StatusCode == http.StatusSwitchingProtocols {
			return reply, br, nil
		}
		x.interim.pass(reply.StatusCode, map[string][]string(reply.Header))
	}
}

// switchProtocols passes the 101 on.
func (x *plainExchange) switchProtocols(reply *http.Response) error {
	protocol := strings.Join(reply.Header["Upgrade"], ", ")
	removeHopByHop(reply.Header)
	appendVia(reply.Header, reply.ProtoMinor, x.c.server.pseudonym())
	bw := bufio.NewWriter(x.c.conn)
	writeStatusLine(bw, reply.StatusCode)
	bw.WriteString("Connection: Upgrade\r\nUpgrade: " + protocol + "\r\n")
	reply.Header.Write(bw)
	bw.WriteString("\r\n")
	x.rec.Connect = time.Since(x.rec.Start)
	return bw.Flush()
}
