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

// LoginProxy is a proxy that asks for a login.
type LoginProxy struct {
	*tunneltest.Server
	mu    sync.Mutex
	seen  []string // the values, in order
	conns int
}

// StartLoginProxy starts a proxy that answers each CONNECT with the reply that judge returns.
// judge gets the numbers of the connection and of the request on it, both from 1, and the
// value of Proxy-Authorization. After a 200 the proxy echoes; after any other reply it
// closes the connection unless keep is true.
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

// Values returns the values of Proxy-Authorization in the order of the requests, and the
// number of connections.
func (p *LoginProxy) Values() (values []string, conns int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.seen), p.conns
}

// Schemes returns the first words of the values, separated by commas.
func (p *LoginProxy) Schemes() string {
	values, _ := p.Values()
	var schemes []string
	for _, v := range values {
		scheme, _, _ := strings.Cut(v, " ")
		schemes = append(schemes, scheme)
	}
	return strings.Join(schemes, ",")
}

// TunnelOpen is the reply of a proxy that has opened a tunnel.
const TunnelOpen = "HTTP/1.1 200 OK\r\n\r\n"

// Reply407 returns a 407 with these challenges, and with content whose length is given.
func Reply407(challenges ...string) string {
	reply := "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 5\r\n"
	for _, c := range challenges {
		reply += "Proxy-Authenticate: " + c + "\r\n"
	}
	return reply + "\r\nsorry"
}

// Parameters returns the parameters of a Digest value.
func Parameters(value string) map[string]string {
	f := make(map[string]string)
	for _, m := range regexp.MustCompile(`([A-Za-z-]+)=("[^"]*"|[^,\s]*)`).FindAllStringSubmatch(value, -1) {
		f[m[1]] = strings.Trim(m[2], `"`)
	}
	return f
}

// NTLMChallenge returns a CHALLENGE message in base64 ([MS-NLMP], section 2.2.1.2).
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
