package h2

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
)

// A connection whose window is closed must not keep the bytes of a Write that has failed.
func TestStreamsThatGaveUpLeaveTheRing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams, handle := answered(t)
		c, p := against(t, Config{}, handle)
		first := p.tunnel(1, streams)
		if _, err := first.Write(make([]byte, leastWindow)); err != nil { // the window of the connection
			t.Fatal(err)
		}
		var writers []*Stream
		for i := range uint32(9) {
			p.all()
			p.head(2*i+3, false, connect...)
			writers = append(writers, <-streams)
			go writers[i].Write([]byte("stuck"))
			synctest.Wait()
		}
		for _, i := range []int{8, 0, 4} { // the last, the first, and one between
			_ = p.WriteRSTStream(writers[i].ID(), CodeCancel)
		}
		synctest.Wait()
		c.mu.Lock()
		left := 0
		for s := c.ready.next; ; s = s.next {
			if left++; s == c.ready {
				break
			}
		}
		c.mu.Unlock()
		if left != 6 {
			t.Fatalf("%d streams wait in the ring, want 6", left)
		}
		p.all()
		_ = p.WriteWindowUpdate(0, 1000)
		synctest.Wait()
		if got := summary(p.all()); got != strings.TrimSpace(strings.Repeat("DATA(5) ", 6)) {
			t.Fatalf("the others sent %s", got)
		}
	})
}

func TestRecvBufferKeepsTheBytesInOrder(t *testing.T) {
	var r recvBuffer
	var want, got bytes.Buffer
	next := byte(0)
	for i := range 2000 {
		b := make([]byte, i*37%5000)
		for j := range b {
			b[j] = next
			next += 7
		}
		r.append(b)
		want.Write(b)
		out := make([]byte, i*53%5100)
		n := r.read(out)
		got.Write(out[:n])
		if r.size != want.Len()-got.Len() {
			t.Fatalf("the size is %d, want %d", r.size, want.Len()-got.Len())
		}
	}
	rest := make([]byte, r.size)
	got.Write(rest[:r.read(rest)])
	if !bytes.Equal(want.Bytes(), got.Bytes()) || r.first != nil || r.last != nil {
		t.Fatal("not the same bytes, or something is left")
	}
}
