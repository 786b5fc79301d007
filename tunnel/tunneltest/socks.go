package tunneltest

import (
	"bufio"
	"io"
)

// readSOCKS returns a Step that reads one message of a SOCKS client (RFC 1928, RFC 1929,
// SOCKS 4a). The message itself says how long it is.
func readSOCKS(step string) Step {
	return func(t *Turn) bool {
		m := &socksMessage{br: t.br}
		version := m.bytes(1)[0]
		switch {
		case step == "greeting":
			m.counted()
		case step == "authentication":
			m.counted()
			m.counted()
		case version == 4:
			address := m.bytes(1 + 2 + 4)[3:]
			m.text() // the user
			if address[0]|address[1]|address[2] == 0 && address[3] != 0 {
				m.text() // the name
			}
		default:
			switch m.bytes(3)[2] {
			case 1:
				m.bytes(4)
			case 4:
				m.bytes(16)
			default:
				m.counted()
			}
			m.bytes(2)
		}
		return m.err == nil
	}
}

// socksMessage is a message that is read piece by piece. Missing bytes are zero.
type socksMessage struct {
	br  *bufio.Reader
	err error
}

func (m *socksMessage) bytes(n int) []byte {
	b := make([]byte, n)
	if _, err := io.ReadFull(m.br, b); err != nil {
		m.err = err
	}
	return b
}

// counted reads a length and that many bytes.
func (m *socksMessage) counted() { m.bytes(int(m.bytes(1)[0])) }

// text reads up to a zero.
func (m *socksMessage) text() {
	if _, err := m.br.ReadString(0); err != nil {
		m.err = err
	}
}
