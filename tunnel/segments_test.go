package tunnel

import (
	"bytes"
	"strings"
	"testing"

	"culvert/tunnel/tunneltest"
)

// What was read is kept in the pieces in which it came, each with its time, and
// put together is what was sent.
func TestSegments(t *testing.T) {
	const reply = "HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nno\x1b\r\n0\r\n\r\n"
	first := make(chan struct{})
	proxy := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Send(reply[:9]), tunneltest.Wait(first), tunneltest.Send(reply[9:]), tunneltest.Finish)
	p := &Prober{Client: *proxied(t, proxy.Addr()), Wait: longWait}
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
	r.WriteHex(&text, Style{})
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

// The tunnel's bytes stand once behind the head, glued or not; credentials that
// come back are masked in every form.
func TestRawOfATunnel(t *testing.T) {
	const head, glued, later = "HTTP/1.1 200 OK\r\nX: hunter2hunter2\r\n\r\n", "SSH-2.0-", "hello\r\n"
	proxy := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Send(head+glued), tunneltest.Send(later), tunneltest.Finish)
	p := &Prober{Client: *proxied(t, "http://u:hunter2hunter2@"+proxy.Addr()), Wait: longWait}
	p.Client.Auth = AuthBasic
	r := probeAt(t, p)
	var raw, text bytes.Buffer
	r.WriteRaw(&raw)
	if want := strings.Replace(head, "hunter2hunter2", masked, 1) + glued + later; raw.String() != want {
		t.Errorf("%q, want %q", &raw, want)
	}
	r.WriteHex(&text, Style{})
	if strings.Contains(text.String(), "hunter2") || strings.Contains(text.String(), "|dTpodW50ZXIy") {
		t.Errorf("%s", &text)
	}
}

// An exchange takes no more memory than is said.
func TestSegmentsAreBounded(t *testing.T) {
	rec := &recording{}
	for range 100 {
		rec.read(make([]byte, 1<<15), nil)
	}
	kept := 0
	for _, s := range rec.reads {
		kept += len(s.bytes)
	}
	if kept != maxSegmentBytes {
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
