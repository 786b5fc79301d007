package testkit

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"culvert/tunnel/tunneltest"
)

// LoginProxy answers each CONNECT as judge says, which gets the value of its
// Proxy-Authorization. A reply that is a 200 opens an echo.
type LoginProxy struct {
	*tunneltest.Server
	mu    sync.Mutex
	seen  []string // the values, in order
	conns int
}

// StartLoginProxy starts a proxy on which judge answers each request: it gets the numbers
// of the connection and of the request on it, and the value of Proxy-Authorization.
func StartLoginProxy(t *testing.T, judge func(conn, request int, value string) (reply string, keep bool)) *LoginProxy {
	t.Helper()
	p := &LoginProxy{}
	p.Server = tunneltest.Start(t, func(conn net.Conn) {
		p.mu.Lock()
		p.conns++
		number := p.conns
		p.mu.Unlock()
		br := bufio.NewReader(conn)
		for request := 1; ; request++ {
			r, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			value := r.Header.Get("Proxy-Authorization")
			p.mu.Lock()
			p.seen = append(p.seen, value)
			p.mu.Unlock()
			reply, keep := judge(number, request, value)
			io.WriteString(conn, reply)
			switch {
			case strings.HasPrefix(reply, "HTTP/1.1 200"):
				io.Copy(conn, br)
				return
			case !keep:
				return
			}
		}
	})
	return p
}

// Values are the Proxy-Authorization values seen, and conns how many connections
// they came over.
func (p *LoginProxy) Values() (values []string, conns int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.seen), p.conns
}

// Schemes are the values' first words.
func (p *LoginProxy) Schemes() string {
	values, _ := p.Values()
	var schemes []string
	for _, v := range values {
		scheme, _, _ := strings.Cut(v, " ")
		schemes = append(schemes, scheme)
	}
	return strings.Join(schemes, ",")
}

// TunnelOpen is a reply that opens a tunnel.
const TunnelOpen = "HTTP/1.1 200 OK\r\n\r\n"

// Reply407 is a 407 with challenges, framed.
func Reply407(challenges ...string) string {
	reply := "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 5\r\n"
	for _, c := range challenges {
		reply += "Proxy-Authenticate: " + c + "\r\n"
	}
	return reply + "\r\nsorry"
}

// Parameters are those of a Digest value.
func Parameters(value string) map[string]string {
	f := make(map[string]string)
	for _, m := range regexp.MustCompile(`([A-Za-z-]+)=("[^"]*"|[^,\s]*)`).FindAllStringSubmatch(value, -1) {
		f[m[1]] = strings.Trim(m[2], `"`)
	}
	return f
}

// NTLMChallenge is a CHALLENGE message ([MS-NLMP], section 2.2.1.2).
func NTLMChallenge() string {
	m := make([]byte, 56)
	copy(m, "NTLMSSP\x00")
	binary.LittleEndian.PutUint32(m[8:], 2)
	binary.LittleEndian.PutUint32(m[16:], 56)         // the target name is empty
	binary.LittleEndian.PutUint32(m[20:], 0x00088201) // Unicode, NTLM, always sign, extended session security
	copy(m[24:], "12345678")
	binary.LittleEndian.PutUint32(m[44:], 56)
	return base64.StdEncoding.EncodeToString(m)
}
