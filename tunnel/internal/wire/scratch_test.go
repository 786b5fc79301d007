package wire

import (
	"bufio"
	"reflect"
	"strings"
	"testing"
)

// What a Scratch reads is what the functions read, one head after the other, and the
// strings of a head stay as they are when the next one is read.
func TestScratch(t *testing.T) {
	heads := []string{
		"GET http://a/ HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nX-Two: 2\r\n\r\n", "\r\nHEAD /b HTTP/1.0\r\n\r\n",
		"POST / HTTP/1.1\nHost: c\nX: " + strings.Repeat("x", 2*maxScratch) + "\n\n", "GET /d HTTP/1.1\r\nHost: d\r\n\r\n",
	}
	var s Scratch
	var targets []string
	br := bufio.NewReader(strings.NewReader(strings.Join(heads, "")))
	for _, head := range heads {
		want, err := ReadRequest(bufio.NewReader(strings.NewReader(head)), 0)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.ReadRequest(br, 0)
		if err != nil || len(got.Fields) != len(want.Fields) {
			t.Fatalf("%.20q: %+v, %v", head, got, err)
		}
		if len(got.Fields) == 0 {
			got.Fields = want.Fields // an empty list is as good as none
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%.20q: read %+v, want %+v", head, got, want)
		}
		targets = append(targets, got.Target)
	}
	if got := strings.Join(targets, " "); got != "http://a/ /b / /d" {
		t.Errorf("the targets became %q", got)
	}
	reply := "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
	for range 2 {
		p, err := s.ReadReply(bufio.NewReader(strings.NewReader(reply)), 0)
		if want, _ := ReadReply(bufio.NewReader(strings.NewReader(reply)), 0); err != nil || !reflect.DeepEqual(p, want) {
			t.Errorf("read %+v, %v, want %+v", p, err, want)
		}
	}
	if _, err := s.ReadReply(bufio.NewReader(strings.NewReader("SSH-2.0\r\n")), 0); err == nil {
		t.Error("no reply was read as one")
	}
}

// A head that is read into a Scratch costs one allocation, its text.
func TestScratchAllocates(t *testing.T) {
	const head = "GET http://a/ HTTP/1.1\r\nHost: a\r\nUser-Agent: u\r\nAccept: */*\r\n\r\n"
	var s Scratch
	src := strings.NewReader(head)
	br := bufio.NewReader(src)
	if n := testing.AllocsPerRun(100, func() {
		src.Reset(head)
		br.Reset(src)
		q, err := s.ReadRequest(br, 0)
		if err != nil || q.CheckHost() != nil {
			t.Fatal(err)
		}
		if _, err := q.Framing(); err != nil {
			t.Fatal(err)
		}
	}); n > 1 {
		t.Errorf("%v allocations", n)
	}
}
