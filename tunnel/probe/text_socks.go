package probe

import (
	"strings"

	"culvert/tunnel/internal/wire"
)

// socks adds the SOCKS handshakes that came right before an exchange.
func (t *reportText) socks(r *Report, before int) {
	for _, h := range r.SOCKS {
		if h.Before != before {
			continue
		}
		t.printf("ask %s for %s by %s%s", h.Hop, h.AskedFor, h.Scheme, connectionNote(h.Connection))
		for i, m := range h.Messages {
			t.spoken(&m, h.Error != "" && i == len(h.Messages)-1)
		}
	}
}

// spoken adds one message and its answer.
func (t *reportText) spoken(m *SOCKSMessage, failed bool) {
	t.printf("%s: %s", m.Step, m.Asks)
	if t.hex {
		t.dump(">", t.Sent, m.Request, 0)
	} else { // these bytes have no lines
		t.out.WriteString(t.Sent.Paint("> "+wire.Escape(m.Request, maxLineShown)) + "\n")
	}
	switch {
	case len(m.Reply) == 0:
	case t.hex:
		t.printf("after %s: %s", strings.TrimSpace(durationOf(m.At+m.Duration)), bytesOf(len(m.Reply)))
		t.dump("<", t.Received, m.Reply, 0)
	default:
		t.out.WriteString(t.Received.Paint("< "+wire.Escape(m.Reply, maxLineShown)) + "\n")
	}
	if failed {
		t.printf("%s", t.Bad.Paint(m.Means))
		return
	}
	t.printf("%s", m.Means)
}
