package resolve

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
)

// serverConn is a connection to a name server that has sent its replies already.
type serverConn struct {
	net.Conn
	in *bytes.Reader
}

func (c serverConn) Read(b []byte) (int, error) { return c.in.Read(b) }
func (serverConn) Write(b []byte) (int, error)  { return len(b), nil }

// Whatever a name server sends by TCP, package net gets whole messages or an error, and
// each question is asked twice at most.
func FuzzNameServer(f *testing.F) {
	question := make([]byte, headerSize, 64)
	question[1], question[5], question[11] = 7, 1, 1
	question = append(question, "\x01a\x04test\x00\x00\x01\x00\x01\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00"...)
	f.Add(question, []byte("\x00\x0c\x00\x07\x80\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0c\x00\x07\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add(question, []byte("\x00\x00"))
	f.Add([]byte("\x00"), []byte("\xff\xff\x00"))
	f.Fuzz(func(t *testing.T, message, sent []byte) {
		if len(message) < headerSize { // package net's questions have a header
			return
		}
		if without := withoutEDNS(message); without != nil && (len(without) != len(message)-optSize || binary.BigEndian.Uint16(without[10:]) != 0) {
			t.Errorf("%x became %x", message, without)
		}
		c := &tcpExchange{Conn: serverConn{in: bytes.NewReader(sent)}, x: &exchange{lookup: new(lookup)}}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 2)
		if _, err := io.ReadFull(c, got); err != nil {
			return
		}
		rest := make([]byte, binary.BigEndian.Uint16(got))
		if _, err := io.ReadFull(c, rest); err != nil {
			t.Errorf("a message of %d bytes is cut off: %v", len(rest), err)
		}
		if c.x.again != nil && c.x.plain.Load() {
			t.Error("it would be asked a third time")
		}
	})
}
