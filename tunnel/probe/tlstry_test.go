package probe

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"culvert/tunnel"
	"culvert/tunnel/internal/clienttest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/terminal"
	"culvert/tunnel/tunneltest"
)

// tlsOnly closes a connection at once unless it begins with TLS, and answers a
// ClientHello.
func tlsOnly(t *testing.T, conns *atomic.Int32, answer string) string {
	t.Helper()
	return tunneltest.Start(t, func(conn net.Conn) {
		conns.Add(1)
		br := bufio.NewReader(conn)
		if first, err := br.Peek(1); err == nil && first[0] == 22 {
			io.WriteString(conn, answer)
			io.Copy(io.Discard, br)
		}
		br.Discard(br.Buffered()) // otherwise the close is a reset
	}).Addr()
}

// A proxy that closes the connection without an answer to plain HTTP is tried with
// TLS, once.
func TestTLSTry(t *testing.T) {
	const alert, hello = "\x15\x03\x03\x00\x02\x02\x28", "\x16\x03\x03\x00\x04\x02\x00\x00\x7f"
	const wrong, hung = "wrong port (it speaks TLS)", "hung up (the connection was closed without an answer)"
	for _, tt := range []struct {
		name, answer, words, hint, says string
	}{
		{"alert", alert, wrong, hintWantsTLS, "it speaks TLS"},
		{"ServerHello", hello, wrong, hintWantsTLS, "it speaks TLS"},
		{"something else", "SSH-2.0-x\r\n", hung, "want the PROXY protocol before the request", "it answered, but not in TLS"},
		{"nothing", "", hung, "want the PROXY protocol before the request", "no answer to that either"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var conns atomic.Int32
			addr := tlsOnly(t, &conns, tt.answer)
			p := &Prober{Client: clienttest.Proxied(t, "http://ada:"+hostileSecret+"@"+addr), Wait: testkit.BriefWait}
			if tt.answer == "" {
				p.tlsTryTimeout = 10 * testkit.BriefWait // in vain
			}
			r := probeAt(t, p)
			if v := r.Verdict; v.Words != tt.words || !strings.Contains(v.Hint, tt.hint) || v.ExitCode != tunnel.ExitNotAProxy {
				t.Errorf("%+v, want %q", v, tt.words)
			}
			if r.TLSTry == nil || r.TLSTry.Words != tt.says || r.TLSTry.Speaks != (tt.words == wrong) || conns.Load() != 2 {
				t.Errorf("%+v, %d connections", r.TLSTry, conns.Load())
			}
			var text strings.Builder
			r.WriteText(&text, terminal.Style{})
			if want := "\n* a further connection to " + addr + ", with TLS: " + tt.says + "\n"; !strings.Contains(text.String(), want) {
				t.Errorf("no %q in\n%s", want, &text)
			}
			wantHarmlessForms(t, r)
		})
	}
}

// It is tried by single probes only, and only if not a byte of an answer came.
func TestNoTLSTry(t *testing.T) {
	var conns atomic.Int32
	addr := tlsOnly(t, &conns, "\x15\x03\x03\x00\x02\x02\x28")
	if _, err := clienttest.Proxied(t, addr).Open(t.Context(), testkit.MustAuthority(t, "a:22")); err == nil || conns.Load() != 1 {
		t.Errorf("dial: %v, %d connections", err, conns.Load())
	}
	s := &Series{Prober: &Prober{Client: clienttest.Proxied(t, addr)}, Count: 2}
	if r, err := s.Run(t.Context(), testkit.MustAuthority(t, "a:22"), true, nil); err != nil || conns.Load() != 3 {
		t.Errorf("a series: %+v, %v, %d connections", r, err, conns.Load())
	}
	for name, script := range map[string][]tunneltest.Step{
		"a byte":    testkit.HangUp("H"),
		"a refusal": testkit.HangUp(reply403 + "\r\n"),
		"a tunnel":  testkit.HangUp(reply200 + "\r\n"),
	} {
		if r := probeScript(t, testkit.BriefWait, script...); r.TLSTry != nil {
			t.Errorf("%s: %+v", name, r.TLSTry)
		}
	}
	first := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Send(reply200+"\r\n"), relayTo(addr))
	if r := probeAt(t, &Prober{Client: clienttest.Proxied(t, first.Addr(), addr), Wait: testkit.BriefWait}); r.TLSTry != nil || r.Verdict.Kind != VerdictHungUp {
		t.Errorf("a later proxy: %+v, %+v", r.TLSTry, r.Verdict)
	}
}
