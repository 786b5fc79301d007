package testkit

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// DNSQuestion is a question to a NameServer.
type DNSQuestion struct {
	Name string // in lower case, without the root dot
	IPv6 bool   // for AAAA, else A
	EDNS bool
	TCP  bool
}

// DNSReply is what a NameServer answers.
type DNSReply struct {
	RCode      dnsmessage.RCode
	Addrs      []string // only those of the IP version that was asked for are sent
	Alias      string   // CNAME to it first
	Mute       bool     // nothing is sent
	Truncated  bool     // by UDP: without answers, and the client should use TCP
	HeaderOnly bool     // without the question
}

// NoName is the reply for a name that does not exist.
var NoName = DNSReply{RCode: dnsmessage.RCodeNameError}

// NameServer serves DNS at 127.0.0.1:53, by UDP and TCP, in the namespaces that
// InNamespace has made, and is the one in /etc/resolv.conf, which has the given further
// lines.
func NameServer(t testing.TB, lines string, answer func(DNSQuestion) DNSReply) {
	t.Helper()
	ReplaceFile(t, "/etc/resolv.conf", "nameserver 127.0.0.1\n"+lines)
	udp := ListenUDP(t, "127.0.0.1:53")
	go func() {
		b := make([]byte, 4096)
		for {
			n, from, err := udp.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			if reply := replyTo(b[:n], false, answer); reply != nil {
				_, _ = udp.WriteToUDPAddrPort(reply, from)
			}
		}
	}()
	StartAt(t, "127.0.0.1:53", func(conn net.Conn) {
		defer conn.Close()
		for {
			var length [2]byte
			if _, err := io.ReadFull(conn, length[:]); err != nil {
				return
			}
			b := make([]byte, binary.BigEndian.Uint16(length[:]))
			if _, err := io.ReadFull(conn, b); err != nil {
				return
			}
			if reply := replyTo(b, true, answer); reply != nil {
				_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
			}
		}
	})
}

// replyTo returns the reply to a message; nil = none is sent.
func replyTo(message []byte, tcp bool, answer func(DNSQuestion) DNSReply) []byte {
	var m dnsmessage.Message
	if m.Unpack(message) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	asked := DNSQuestion{Name: strings.ToLower(strings.TrimSuffix(q.Name.String(), ".")), IPv6: q.Type == dnsmessage.TypeAAAA, TCP: tcp}
	for _, additional := range m.Additionals {
		asked.EDNS = asked.EDNS || additional.Header.Type == dnsmessage.TypeOPT
	}
	r := answer(asked)
	if r.Mute {
		return nil
	}
	out := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RecursionDesired: true, RecursionAvailable: true, RCode: r.RCode}}
	if !r.HeaderOnly {
		out.Questions = m.Questions
	}
	owner := q.Name
	if out.Truncated = r.Truncated && !tcp; !out.Truncated {
		if r.Alias != "" {
			alias := dnsmessage.MustNewName(r.Alias + ".")
			out.Answers = append(out.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: owner, Class: dnsmessage.ClassINET}, Body: &dnsmessage.CNAMEResource{CNAME: alias}})
			owner = alias
		}
		for _, s := range r.Addrs {
			addr := netip.MustParseAddr(s)
			if addr.Is6() != asked.IPv6 {
				continue
			}
			var body dnsmessage.ResourceBody
			if addr.Is6() {
				body = &dnsmessage.AAAAResource{AAAA: addr.As16()}
			} else {
				body = &dnsmessage.AResource{A: addr.As4()}
			}
			out.Answers = append(out.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: owner, Class: dnsmessage.ClassINET}, Body: body})
		}
	}
	packed, err := out.Pack()
	if err != nil {
		return nil
	}
	return packed
}
