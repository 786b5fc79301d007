package tunneltest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"culvert/tunnel/internal/wire"

	"github.com/rogpeppe/go-internal/txtar"
)

// StartTranscript starts a Proxy that plays a file of culvert probe --save: the first
// recorded connection on the first conn, and so on, and the last one on all further conns.
// Each recorded read is one write, without the recorded delays. Requests are read but not
// compared. HTTP/2 is without TLS, as for h2c://.
func StartTranscript(tb TB, file string) *Proxy {
	tb.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	scripts, err := Transcript(text)
	if err != nil {
		tb.Fatalf("%s: %v", file, err)
	}
	p := &Proxy{}
	var n atomic.Int32
	p.Server = Start(tb, func(conn net.Conn) {
		script := scripts[min(int(n.Add(1)), len(scripts))-1]
		(&Proxy{script: script}).play(conn)
	})
	return p
}

// Transcript returns the scripts of a transcript, one for each connection.
func Transcript(text []byte) (scripts [][]Step, err error) {
	a := txtar.Parse(text)
	var name string // of the connection
	for _, f := range a.Files {
		connection, rest, ok := strings.Cut(f.Name, "/")
		if !ok {
			return nil, fmt.Errorf("%q is no part of a transcript", f.Name)
		}
		if connection != "tunnel" && connection != name {
			name, scripts = connection, append(scripts, nil)
		}
		if len(scripts) == 0 {
			return nil, fmt.Errorf("%q comes before any connection", f.Name)
		}
		data, err := wire.Unescape(bytes.ReplaceAll(f.Data, []byte("\n"), nil))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		step, err := transcriptStep(rest[strings.LastIndexByte(rest, '/')+1:], data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		script := &scripts[len(scripts)-1]
		*script = append(*script, step)
	}
	if len(scripts) == 0 {
		return nil, fmt.Errorf("there is no exchange in it")
	}
	return scripts, nil
}

// transcriptStep returns the Step for one part.
func transcriptStep(part string, data []byte) (Step, error) {
	switch part, of, _ := strings.Cut(part, " "); part {
	case "request":
		if of == "in frames" {
			return readFramesTo(frameHeaders), nil
		}
		return ReadHead, nil
	case "after", "read":
		return Send(string(data)), nil
	case "greeting", "authentication", "connect":
		return readSOCKS(part), nil
	case "sent":
		return readSent(len(data), bytes.Contains(data, []byte("***"))), nil
	case "left":
		ends := map[string]Step{"closed": Finish, "reset": Cut, "open": Hold}
		if step, ok := ends[string(data)]; ok {
			return step, nil
		}
		return nil, fmt.Errorf("%q is no way to leave", data)
	}
	return nil, fmt.Errorf("no such part: there are %s", strings.Join(slices.Sorted(slices.Values([]string{"request", "after", "read", "sent", "left", "greeting", "authentication", "connect"})), ", "))
}

// readSent returns a Step that reads what was sent through the tunnel: one DATA frame over
// HTTP/2, n bytes over HTTP/1, and one byte if it is masked, as its length is unknown.
func readSent(n int, masked bool) Step {
	if masked {
		n = min(n, 1)
	}
	return func(t *Turn) bool {
		if t.framed {
			return readFramesTo(frameData)(t)
		}
		_, err := io.CopyN(io.Discard, t.br, int64(n))
		return err == nil
	}
}

// The types of frames and a flag (RFC 9113, section 6).
const (
	frameData         = 0
	frameHeaders      = 1
	frameContinuation = 9
	flagEndHeaders    = 4
	lengthOfPreface   = 24 // RFC 9113, section 3.4
)

// readFramesTo returns a Step that reads frames through one of the wanted type. A head may
// end in a CONTINUATION frame.
func readFramesTo(wanted byte) Step {
	return func(t *Turn) bool {
		if !t.framed {
			t.framed = true
			if _, err := io.CopyN(io.Discard, t.br, lengthOfPreface); err != nil {
				return false
			}
		}
		for {
			var head [9]byte
			if _, err := io.ReadFull(t.br, head[:]); err != nil {
				return false
			}
			length := int64(head[0])<<16 | int64(head[1])<<8 | int64(head[2])
			if _, err := io.CopyN(io.Discard, t.br, length); err != nil {
				return false
			}
			kind, endsHead := head[3], head[4]&flagEndHeaders != 0
			if kind == wanted && (kind == frameData || endsHead) || kind == frameContinuation && wanted == frameHeaders && endsHead {
				return true
			}
		}
	}
}
