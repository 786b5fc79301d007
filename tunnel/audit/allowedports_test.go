package audit

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"culvert/tunnel/proxy"
	"culvert/tunnel/terminal"
)

// freePorts returns n ports of loopback on which nothing listens.
func freePorts(t *testing.T, n int) (ports []uint16) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, uint16(l.Addr().(*net.TCPAddr).Port))
	}
	return ports
}

// allowing makes the audit try these ports instead of allowedPorts.
func allowing(t *testing.T, ports []uint16) {
	was := allowedPorts
	allowedPorts = ports
	t.Cleanup(func() { allowedPorts = was })
}

// The target moves to a port that the proxy allows, and the report says so and why.
func TestTargetMoves(t *testing.T) {
	ports := freePorts(t, 3)
	taken, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", ports[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	allowing(t, ports)
	picky := bad{plain: byTarget, refuses: func(head string) string {
		switch target := fmt.Sprintf("127.0.0.1:%d", ports[2]); {
		case strings.HasPrefix(head, "CONNECT "+target+" "), strings.HasPrefix(head, "GET http://"+target):
			return ""
		}
		return refused403
	}}
	r := auditOf(t, "http://"+picky.start(t), nil, "connect", "tunnel-all-bytes")
	if r.Target != fmt.Sprintf("127.0.0.1:%d", ports[2]) || r.Summary[0].Pass != 2 {
		t.Errorf("%s: %+v", r.Target, r.Summary[0])
	}
	want := fmt.Sprintf(`with "HTTP/1.1 403 No", and %d cannot be had here (it is in use), %d is refused too`, ports[0], ports[1])
	var text bytes.Buffer
	r.WriteText(&text, terminal.Style{})
	if !strings.HasPrefix(r.Moved, "it refuses port ") || !strings.HasSuffix(r.Moved, want) || !strings.Contains(text.String(), r.Moved) {
		t.Errorf("%q, want %q, in\n%s", r.Moved, want, &text)
	}
}

// If the proxy allows none of the ports, the report names all that were tried. A proxy
// that wants credentials is not asked for other ports.
func TestTargetStays(t *testing.T) {
	ports := freePorts(t, 1)
	allowing(t, ports)
	denies := bad{refuses: func(string) string { return refused403 }}
	r := auditOf(t, "http://"+denies.start(t), nil, "tunnel-all-bytes")
	if want := fmt.Sprintf(`"HTTP/1.1 403 No"; %d is refused too; let it listen on a port that the proxy allows`, ports[0]); !strings.Contains(r.Results[0].Evidence, want) || r.Moved != "" {
		t.Errorf("%q, moved %q", r.Results[0].Evidence, r.Moved)
	}
	asks := bad{refuses: func(string) string { return "HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n" }}
	if r = auditOf(t, "http://"+asks.start(t), nil, "tunnel-all-bytes"); strings.Contains(r.Results[0].Evidence, "refused too") {
		t.Errorf("%q", r.Results[0].Evidence)
	}
}

// A serve with default flags can be audited with default flags.
func TestServeByDefault(t *testing.T) {
	for _, port := range []uint16{443, 80} {
		l, err := listenOn(port)
		if err != nil {
			t.Skipf("port %d cannot be had here: %v", port, err)
		}
		l.close()
	}
	r := auditOf(t, "http://"+serveBy(t, &proxy.Server{}), func(a *Auditor) { a.Patience = 10 * time.Second }, "connect", "tunnel-all-bytes", "plain-host")
	if strings.Contains(r.Results[0].Evidence, "it is in use") {
		t.Skip("somebody took the ports meanwhile")
	}
	if r.Target != "127.0.0.1:443" && r.Target != "127.0.0.1:80" || r.Moved == "" || r.Summary[0].Pass != 3 {
		t.Errorf("tunnels to %s, %q: %+v", r.Target, r.Moved, r.Results)
	}
}
