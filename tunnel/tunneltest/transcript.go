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

// StartTranscript plays a file that culvert probe --save wrote: on the first conn
// what was recorded of the first connection, and so on, the last one again and
// again. Each piece is one write; times are not kept. Requests are read and not
// compared.
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

// Transcript makes the scripts of a transcript, one for each connection.
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

// transcriptStep is what one part says.
func transcriptStep(part string, data []byte) (Step, error) {
	switch part, _, _ = strings.Cut(part, " "); part {
	case "request":
		return ReadHead, nil
	case "after", "read":
		return Send(string(data)), nil
	case "greeting", "authentication", "connect":
		return readSOCKS(part), nil
	case "sent":
		return func(t *Turn) bool {
			_, err := io.ReadFull(t.br, make([]byte, len(data)))
			return err == nil
		}, nil
	case "left":
		ends := map[string]Step{"closed": Finish, "reset": Cut, "open": Hold}
		if step, ok := ends[string(data)]; ok {
			return step, nil
		}
		return nil, fmt.Errorf("%q is no way to leave", data)
	}
	return nil, fmt.Errorf("no such part: there are %s", strings.Join(slices.Sorted(slices.Values([]string{"request", "after", "read", "sent", "left", "greeting", "authentication", "connect"})), ", "))
}
