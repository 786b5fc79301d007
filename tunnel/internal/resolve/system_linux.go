package resolve

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"culvert/tunnel/internal/panics"
)

// system asks the hosts file and the name servers of /etc/resolv.conf, by package net's
// resolver in Go, whether the program was built with cgo or not.
type system struct{ r *Resolver }

// LookupNetIP implements Source. Every look-up has a net.Resolver of its own, since one
// that several share goes on when those that asked are gone.
func (s system) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	l := &lookup{hold: s.r.Hold}
	l.rcode.Store(-1)
	addrs, err := (&net.Resolver{PreferGo: true, Dial: l.dial}).LookupNetIP(ctx, network, host)
	if refused := l.refused.Load(); err != nil && refused != nil {
		return nil, *refused
	}
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound && l.rcode.Load() == rcodeNoError {
		return nil, &net.DNSError{UnwrapErr: ErrNoAddress, Err: ErrNoAddress.Error(), Name: host, IsNotFound: true}
	}
	return addrs, err
}

// lookup is one look-up of one IP version.
type lookup struct {
	hold    func() (release func(), err error)
	refused atomic.Pointer[error] // what hold returned
	rcode   atomic.Int32          // of the last reply; -1 = none came
	plain   atomic.Bool           // a name server does not understand EDNS
}

// DNS response codes (RFC 1035, section 4.1.1).
const (
	rcodeNoError        = 0
	rcodeFormatError    = 1
	rcodeNotImplemented = 4
)

// dial is net.Resolver.Dial. The context is that of one question, and ends with it.
func (l *lookup) dial(ctx context.Context, network, address string) (net.Conn, error) {
	release := func() {}
	if l.hold != nil {
		var err error
		if release, err = l.hold(); err != nil {
			l.refused.Store(&err)
			return nil, err
		}
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		release()
		return nil, err
	}
	// Package net reads until the deadline of the question, also after its caller has left.
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	x := &exchange{lookup: l, conn: conn, close: func() error {
		stop()
		defer release()
		return conn.Close()
	}}
	if udp, ok := conn.(*net.UDPConn); ok {
		return &udpExchange{udp, x}, nil
	}
	return &tcpExchange{conn, x, nil}, nil
}

// exchange is a question to a name server and its reply. If the server does not
// understand EDNS it is asked again without (RFC 6891, section 7).
type exchange struct {
	*lookup
	conn  net.Conn
	close func() error
	again []byte // the question without EDNS; nil = it was sent so already
}

// question returns what is to be sent for a question.
func (x *exchange) question(message []byte) []byte {
	without := withoutEDNS(message)
	if without == nil || x.plain.Load() {
		x.again = nil
		if without != nil {
			return without
		}
		return message
	}
	x.again = without
	return message
}

// refusesEDNS looks at a reply, and reports whether it is to be asked again, without
// EDNS. Some servers reply to EDNS with a header alone.
func (x *exchange) refusesEDNS(reply []byte) bool {
	if len(reply) < headerSize {
		return false
	}
	rcode := reply[3] & 0xf
	if x.again != nil && (rcode == rcodeFormatError || rcode == rcodeNotImplemented) && reply[2]&0x80 != 0 && [2]byte(reply) == [2]byte(x.again) {
		x.plain.Store(true)
		return true
	}
	x.rcode.Store(int32(rcode))
	return false
}

const (
	headerSize = 12
	// optSize is the size of an OPT record without options, with the root as its name
	// (RFC 6891, section 6.1.2).
	optSize = 11
	typeOPT = 41
)

// withoutEDNS returns a question without its OPT record; nil if that is not the last of
// its records.
func withoutEDNS(message []byte) []byte {
	at := len(message) - optSize
	if at < headerSize || binary.BigEndian.Uint16(message[10:]) != 1 || message[at] != 0 || binary.BigEndian.Uint16(message[at+1:]) != typeOPT || binary.BigEndian.Uint16(message[at+9:]) != 0 {
		return nil
	}
	without := append([]byte(nil), message[:at]...)
	binary.BigEndian.PutUint16(without[10:], 0)
	return without
}

// udpExchange is an exchange by UDP. Package net knows by its being a net.PacketConn
// that messages have no length before them.
type udpExchange struct {
	*net.UDPConn
	x *exchange
}

// Write implements net.Conn.
func (c *udpExchange) Write(message []byte) (n int, err error) {
	defer panics.Into("an exchange with a name server", &err) // on a goroutine of package net
	if _, err := c.UDPConn.Write(c.x.question(message)); err != nil {
		return 0, err
	}
	return len(message), nil
}

// Read implements net.Conn.
func (c *udpExchange) Read(b []byte) (n int, err error) {
	defer panics.Into("an exchange with a name server", &err) // on a goroutine of package net
	for {
		n, err := c.UDPConn.Read(b)
		if err != nil || !c.x.refusesEDNS(b[:n]) {
			return n, err
		}
		again := c.x.again
		if c.x.again = nil; again != nil {
			if _, err := c.UDPConn.Write(again); err != nil {
				return 0, err
			}
		}
	}
}

// Close implements net.Conn.
func (c *udpExchange) Close() error { return c.x.close() }

// tcpExchange is an exchange by TCP, where the length of a message stands before it (RFC
// 1035, section 4.2.2).
type tcpExchange struct {
	net.Conn
	x     *exchange
	reply []byte // what was read of it and not yet returned, its length before it
}

// Write implements net.Conn.
func (c *tcpExchange) Write(message []byte) (n int, err error) {
	defer panics.Into("an exchange with a name server", &err) // on a goroutine of package net
	if err := c.send(c.x.question(message[2:])); err != nil {
		return 0, err
	}
	return len(message), nil
}

func (c *tcpExchange) send(message []byte) error {
	_, err := c.Conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...))
	return err
}

// Read implements net.Conn.
func (c *tcpExchange) Read(b []byte) (n int, err error) {
	defer panics.Into("an exchange with a name server", &err) // on a goroutine of package net
	for c.reply == nil {
		var length [2]byte
		if _, err := io.ReadFull(c.Conn, length[:]); err != nil {
			return 0, err
		}
		reply := append(length[:], make([]byte, binary.BigEndian.Uint16(length[:]))...)
		if _, err := io.ReadFull(c.Conn, reply[2:]); err != nil {
			return 0, err
		}
		if !c.x.refusesEDNS(reply[2:]) {
			c.reply = reply
			break
		}
		again := c.x.again
		if c.x.again = nil; again != nil {
			if err := c.send(again); err != nil {
				return 0, err
			}
		}
	}
	n = copy(b, c.reply)
	if c.reply = c.reply[n:]; n == 0 && len(b) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Close implements net.Conn.
func (c *tcpExchange) Close() error { return c.x.close() }
