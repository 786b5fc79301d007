package h2

import "time"

// A budget bounds what a peer may cost beyond useful work. It is a token bucket that fills
// with time and with useful work, and that a flood empties.
type budget struct {
	tokens, most int
	perSecond    int
	filled       time.Time
}

func newBudget(most, perSecond int) budget {
	return budget{tokens: most, most: most, perSecond: perSecond, filled: time.Now()}
}

// earn adds n tokens.
func (b *budget) earn(n int) { b.tokens = min(b.tokens+n, b.most) }

// spend takes one token, and reports false if there was none.
func (b *budget) spend() bool {
	if b.tokens == 0 {
		// The time is read only now, because that costs more than most frames.
		now := time.Now()
		n := int(min(now.Sub(b.filled), time.Hour).Seconds() * float64(b.perSecond))
		if n > 0 {
			b.filled = now
			b.earn(n)
		}
	}
	if b.tokens == 0 {
		return false
	}
	b.tokens--
	return true
}

// chargeFrame charges for a frame that costs work and carries nothing: PING, SETTINGS,
// PRIORITY, WINDOW_UPDATE, empty DATA, unknown types. Bytes that are sent earn the window
// updates that the peer returns for them.
func (c *Conn) chargeFrame() error {
	if !c.frameBudget.spend() {
		return violation(CodeEnhanceYourCalm, "too many frames that carry nothing")
	}
	return nil
}

// chargeStream charges for a stream that was opened in vain: the peer reset it before it
// was answered, or made this side reset it (CVE-2023-44487, CVE-2025-8671).
func (c *Conn) chargeStream() error {
	if !c.streamBudget.spend() {
		return violation(CodeEnhanceYourCalm, "too many streams that came to nothing")
	}
	return nil
}

// chargeAnswer counts an answer that the peer has caused. Their number is bounded while
// the peer does not read.
func (c *Conn) chargeAnswer() error {
	if c.echoes++; c.echoes > maxEchoes {
		return violation(CodeEnhanceYourCalm, "the peer asks and does not read the answers")
	}
	return nil
}
