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

// nuisance charges a frame that asks for work and brings none: PING, SETTINGS,
// PRIORITY, WINDOW_UPDATE, empty DATA, unknown types. Bytes that we send earn
// the window updates that come back for them.
func (c *Conn) chargeFrame() error {
	if !c.frameBudget.spend() {
		return violation(CodeEnhanceYourCalm, "too many frames that carry nothing")
	}
	return nil
}

// wasted charges a stream that came to nothing: reset by the peer before it was
// answered, or by us for what the peer did (CVE-2023-44487, CVE-2025-8671).
func (c *Conn) chargeStream() error {
	if !c.streamBudget.spend() {
		return violation(CodeEnhanceYourCalm, "too many streams that came to nothing")
	}
	return nil
}

// echo counts an answer that the peer provoked, to be bounded while it does not
// read.
func (c *Conn) chargeAnswer() error {
	if c.echoes++; c.echoes > maxEchoes {
		return violation(CodeEnhanceYourCalm, "the peer asks and does not read the answers")
	}
	return nil
}
