package client

import (
	"fmt"
	"strings"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/internal/h2"
	"culvert/tunnel/internal/wire"

	"golang.org/x/net/http2"
)

// Frame is an HTTP/2 frame on a connection to a proxy (RFC 9113, section 6).
type Frame struct {
	Hop  tunnel.Hop
	Sent bool // by the Client; false = received
	At   time.Time

	// Words describes the frame: its type, its stream if it has one, and its content,
	// such as settings by name and value, the number of fields, an error code by name.
	// Text that the proxy sent is escaped.
	Words string

	// Extended is true for SETTINGS that announce extended CONNECT (RFC 8441).
	Extended bool
}

// watchFrames returns a function that passes a connection's frames to the Trace; nil
// if there is no hook for them.
func (c *Client) watchFrames(hop tunnel.Hop) func(h2.Frame) {
	t := c.Trace
	if t == nil || t.Framed == nil {
		return nil
	}
	return func(f h2.Frame) {
		if f.Type == http2.FrameData {
			return
		}
		seen := Frame{Hop: hop, Sent: f.Sent, At: time.Now(), Words: frameWords(f)}
		for _, s := range f.Settings {
			seen.Extended = seen.Extended || s.ID == http2.SettingEnableConnectProtocol && s.Val == 1
		}
		t.Framed(seen)
	}
}

// maxSettingsTold bounds the settings that frameWords lists. Seven are defined.
const maxSettingsTold = 16

// frameWords returns Frame.Words.
func frameWords(f h2.Frame) string {
	var b strings.Builder
	b.WriteString(f.Type.String())
	if f.Stream != 0 {
		fmt.Fprintf(&b, " stream %d", f.Stream)
	}
	switch f.Type {
	case http2.FrameSettings:
		if f.Flags.Has(http2.FlagSettingsAck) {
			b.WriteString(" ACK")
		}
		for i, s := range f.Settings {
			if i == maxSettingsTold {
				b.WriteString(" ...")
				break
			}
			fmt.Fprintf(&b, " %s=%d", s.ID, s.Val)
		}
	case http2.FrameHeaders:
		fmt.Fprintf(&b, ", %d field", len(f.Fields))
		if len(f.Fields) != 1 {
			b.WriteString("s")
		}
		if f.Flags.Has(http2.FlagHeadersEndStream) {
			b.WriteString(", END_STREAM")
		}
	case http2.FrameRSTStream:
		fmt.Fprintf(&b, " %s", f.Code)
	case http2.FrameGoAway:
		fmt.Fprintf(&b, " %s, last stream %d", f.Code, f.LastStream)
		if f.Debug != "" {
			b.WriteString(`, "` + wire.Escape([]byte(f.Debug), MaxDetail) + `"`)
		}
	case http2.FrameWindowUpdate:
		fmt.Fprintf(&b, " +%d", f.Increment)
	}
	return b.String()
}
