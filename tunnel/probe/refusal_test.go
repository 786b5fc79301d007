package probe

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"strings"
	"testing"

	"culvert/tunnel/client"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"
)

// Compressed content of a refusal is read, up to a bound.
func TestRefusalCompressed(t *testing.T) {
	pack := func(w interface {
		io.WriteCloser
		Reset(io.Writer)
	}, text string) string {
		var b bytes.Buffer
		w.Reset(&b)
		io.WriteString(w, text)
		w.Close()
		return b.String()
	}
	raw, _ := flate.NewWriter(io.Discard, 9)
	const page = "<html><p>ask Eve</p></html>"
	for _, tt := range []struct{ name, coding, body, want string }{
		{"gzip", "gzip", pack(gzip.NewWriter(nil), page), "403 No: ask Eve"},
		{"x-gzip", " X-GZIP", pack(gzip.NewWriter(nil), page), "403 No: ask Eve"},
		{"deflate", "deflate", pack(zlib.NewWriter(nil), page), "403 No: ask Eve"},
		{"deflate without its head", "deflate", pack(raw, page), "403 No: ask Eve"},
		{"none", "identity", page, "403 No: ask Eve"},
		{"another", "br\x1b", "\x8b\x01\x80", `403 No: its page is encoded as br\x1b`},
		{"no gzip", "gzip", "plain", "403 No: its page is encoded as gzip"},
		{"a bomb", "gzip", pack(gzip.NewWriter(nil), strings.Repeat("no ", 5<<20)), "403 No: " + strings.Repeat("no ", client.MaxDetail/4) + "..."},
		{"no content", "gzip", "", "403 No"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			proxy := tunneltest.StartProxy(t, testkit.HangUp(fmt.Sprintf("HTTP/1.1 403 No\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n%s", tt.coding, len(tt.body), tt.body))...)
			r := probeHostile(t, hostileProber(t, "http://ada:"+hostileSecret+"@"+proxy.Addr(), false))
			want, cut := strings.CutSuffix("denied by policy ("+tt.want, "...")
			if !cut {
				want += ")"
			}
			if got := r.Verdict.Words; got != want && !(cut && strings.HasPrefix(got, want)) {
				t.Errorf("%q, want %q", r.Verdict.Words, want)
			}
		})
	}
}
