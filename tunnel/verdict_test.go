package tunnel

import (
	"strings"
	"testing"

	"culvert/tunnel/tunneltest"
)

// A 2xx whose Content-Length is not kept to opens a tunnel all the same.
func TestVerdictOnAnnouncedContent(t *testing.T) {
	const head, words = reply200 + "Content-Length: 40\r\n\r\n", "not a proxy (2xx, but the content of 40 bytes that Content-Length announced instead of a tunnel)"
	for _, tt := range []struct {
		name, data string
		steps      func(string) []tunneltest.Step
		words      string
	}{
		{"fewer bytes", "NOTICE: a server that speaks first", holdOn, "open"},
		{"more bytes", strings.Repeat("a", 41), holdOn, "open"},
		{"just as many", strings.Repeat("a", 40), holdOn, words},
		{"just as many, and the end", strings.Repeat("a", 40), hangUp, words},
		{"a page that goes on", htmlPage + strings.Repeat("a", 40), holdOn, "not a proxy (2xx, but an HTML page instead of a tunnel)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := probeScript(t, briefWait, tt.steps(head+tt.data)...)
			if r.Verdict.Words != tt.words {
				t.Errorf("%q, want %q", r.Verdict.Words, tt.words)
			}
			if f := findingOf(t, r, "2xx-content-length"); f.Grade != Fail {
				t.Errorf("%+v", f)
			}
		})
	}
}
