package client

import (
	"strings"
	"testing"

	"culvert/tunnel/internal/h2"

	"golang.org/x/net/http2"
)

// The words about a frame are short even if the frame is large, since a thousand of them
// may be kept.
func TestWordsOfALargeFrame(t *testing.T) {
	for _, f := range []h2.Frame{
		{Type: http2.FrameSettings, Settings: make([]http2.Setting, 2700)},
		{Type: http2.FrameGoAway, Debug: strings.Repeat("\x1b[31m", 5000)},
	} {
		if words := frameWords(f); len(words) > 1000 || !strings.Contains(words, "...") {
			t.Errorf("%d bytes", len(words))
		}
	}
}
