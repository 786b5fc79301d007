package probe

import (
	"bytes"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/tunnel/client"
	"culvert/tunnel/internal/clienttest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/terminal"
	"culvert/tunnel/tunneltest"
)

// What was read is kept in the pieces in which it came, each with its time. Joined
// they are what was sent.
func TestSegments(t *testing.T) {
	const reply = "HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nno\x1b\r\n0\r\n\r\n"
	first := make(chan struct{})
	proxy := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Send(reply[:9]), tunneltest.Wait(first), tunneltest.Send(reply[9:]), tunneltest.Finish)
	p := &Prober{Client: clienttest.Proxied(t, proxy.Addr()), Wait: testkit.LongWait}
	go func() { close(first) }()
	r := probeAt(t, p)
	var all []byte
	last := Micros(0)
	for _, s := range r.Exchanges[0].Segments {
		if all = append(all, s.Bytes...); s.At < last || len(s.Bytes) == 0 {
			t.Errorf("%d bytes at %d, after %d", len(s.Bytes), s.At, last)
		}
		last = s.At
	}
	if string(all) != reply {
		t.Errorf("%q", all)
	}
	var raw, text bytes.Buffer
	if err := r.WriteRaw(&raw); err != nil || raw.String() != reply {
		t.Errorf("raw: %q, %v", &raw, err)
	}
	r.WriteHex(&text, terminal.Style{})
	for _, want := range []string{"> 00000000  43 4f 4e 4e 45 43 54 20  65 78 61 6d 70 6c 65 2e |CONNECT example.|\n", "< 00000000  48 54 54 50 2f 31 2e 31 ", " bytes\n< ", "verdict: denied by policy"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, &text)
		}
	}
	for i, c := range text.Bytes() {
		if c != '\n' && (c < ' ' || c > '~') {
			t.Fatalf("byte %#x at %d", c, i)
		}
	}
}

// The tunnel's bytes appear once after the reply's head, glued or not, and
// credentials in them are masked in every form.
func TestRawOfATunnel(t *testing.T) {
	const head, glued, later = "HTTP/1.1 200 OK\r\nX: hunter2hunter2\r\n\r\n", "SSH-2.0-", "hello\r\n"
	proxy := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Send(head+glued), tunneltest.Send(later), tunneltest.Finish)
	p := &Prober{Client: clienttest.Proxied(t, "http://u:hunter2hunter2@"+proxy.Addr()), Wait: testkit.LongWait}
	p.Client.Auth = client.AuthBasic
	r := probeAt(t, p)
	var raw, text bytes.Buffer
	r.WriteRaw(&raw)
	if want := strings.Replace(head, "hunter2hunter2", "***", 1) + glued + later; raw.String() != want {
		t.Errorf("%q, want %q", &raw, want)
	}
	r.WriteHex(&text, terminal.Style{})
	if strings.Contains(text.String(), "hunter2") || strings.Contains(text.String(), "|dTpodW50ZXIy") {
		t.Errorf("%s", &text)
	}
}

// What is read from the tunnel is kept read by read, after the glued bytes, and
// shown once. Credentials in it, even across reads, are masked.
func TestSegmentsOfATunnel(t *testing.T) {
	const glued = "SSH-2.0-\r\n"
	for _, tt := range []struct {
		name     string
		writes   []string
		segments []string
		shown    string
	}{
		{"read by read", []string{"one\r\n", "two\r\n"}, []string{"one\r\n", "two\r\n"}, "ms: 5 bytes\n< 0000000f  74 77 6f 0d 0a "},
		{"a torn secret", []string{"a hunter2", "hunter2 b"}, []string{"a *** b"}, "|a *** b|\n"},
		{"nothing", nil, nil, "|SSH-2.0-..|\n"},
	} {
		ours, theirs := net.Pipe() // on which each write is one read
		go func() {
			for _, w := range tt.writes {
				theirs.Write([]byte(w))
			}
			theirs.Close()
		}()
		p := &Prober{Client: clienttest.Proxied(t, "http://u:hunter2hunter2@proxy.test:1")}
		s := &session{recording: &recording{started: time.Now()}, prober: p, mask: p.Client.Masker(false)}
		s.tunnel = readTunnel(t.Context(), client.NewConn(ours, []byte(glued)), nil, testkit.LongWait)
		ours.Close()
		n := s.tunnelReport()
		var segments []string
		for _, s := range n.Segments {
			segments = append(segments, string(s.Bytes))
		}
		if !slices.Equal(segments, tt.segments) || n.Glued != len(glued) || string(n.Data) != glued+strings.Join(segments, "") {
			t.Errorf("%s: %q, of %q", tt.name, segments, n.Data)
		}
		for above, want := range map[bool]int{true: 0, false: 1} {
			text := &reportText{hex: true}
			r := &Report{Tunnel: n, Exchanges: make([]Exchange, 1)}
			if above {
				r.Exchanges[0].Segments = []Segment{{}}
			}
			text.tunnel(r, n)
			if got := strings.Count(text.out.String(), "|SSH-2.0-..|"); got != want || !strings.Contains(text.out.String(), "together with the reply") {
				t.Errorf("%s: dumped %d times:\n%s", tt.name, got, &text.out)
			}
			if (len(tt.writes) > 0 || !above) && !strings.Contains(text.out.String(), tt.shown) {
				t.Errorf("%s: no %q in\n%s", tt.name, tt.shown, &text.out)
			}
		}
	}
}

// The memory for an exchange is bounded.
func TestSegmentsAreBounded(t *testing.T) {
	rec := &recording{}
	for range 100 {
		rec.read(make([]byte, 1<<15), nil)
	}
	kept := 0
	for _, s := range rec.reads {
		kept += len(s.bytes)
	}
	if kept != client.MaxExchangeBytes {
		t.Errorf("%d bytes are kept", kept)
	}
	rec = &recording{}
	for i := range 3 * maxSegments {
		rec.read([]byte{byte(i)}, nil)
	}
	last := rec.reads[len(rec.reads)-1].bytes
	if len(rec.reads) != maxSegments || len(last) != 2*maxSegments+1 || last[2*maxSegments] != 0xff {
		t.Errorf("%d segments, the last of %d bytes", len(rec.reads), len(last))
	}
}
