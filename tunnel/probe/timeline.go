package probe

import (
	"slices"
	"time"
)

// spanList collects a timeline.
type spanList struct {
	*session
	spans []startedSpan
}

// startedSpan has the exact start, to sort by.
type startedSpan struct {
	Span
	from time.Time
}

// timeline returns the phases, in the order in which they began.
func (s *session) timeline() []Span {
	l := &spanList{session: s}
	l.connectPhases()
	for _, x := range s.exchanges {
		l.exchangePhases(x)
	}
	for _, m := range s.socks {
		l.add("socks-"+string(m.Step), m.Hop.Name(), m.Started, m.Ended, socksAnswered(m.SOCKSMessage))
	}
	for _, h := range s.tls {
		phase, hop := SpanTLSProxy, h.Peer()
		if h.Inside() {
			phase, hop = SpanTLSInside, ""
		}
		l.add(phase, hop, h.Started, h.Ended, h.Err == nil)
	}
	l.tunnelPhases()
	slices.SortStableFunc(l.spans, func(a, b startedSpan) int { return a.from.Compare(b.from) })
	spans := make([]Span, len(l.spans))
	for i, span := range l.spans {
		spans[i] = span.Span
	}
	return spans
}

// add adds a phase, unless it never began.
func (l *spanList) add(phase, hop string, from, to time.Time, finished bool) {
	if !from.IsZero() {
		l.spans = append(l.spans, startedSpan{Span{phase, l.shown(hop), l.at(from), micros(to.Sub(from)), finished}, from})
	}
}

// addUntil adds a phase that ended at to, or at over without being finished if to
// is zero.
func (l *spanList) addUntil(phase, hop string, from, to, over time.Time) {
	if to.IsZero() {
		l.add(phase, hop, from, over, false)
		return
	}
	l.add(phase, hop, from, to, true)
}

// connectPhases adds the lookups, the attempt that connected, or all attempts as
// one phase if none did, and the attempts for further connections.
func (l *spanList) connectPhases() {
	if l.lookup != nil {
		l.add(SpanResolve, "", l.started, l.lookup.ended, l.lookup.err == nil)
	}
	for _, name := range l.furtherLookups {
		l.add(SpanResolve, "", name.started, name.ended, name.err == nil)
	}
	for _, a := range l.furtherAttempts {
		if !a.ended.IsZero() {
			l.add(SpanConnect, "", a.started, a.ended, a.err == nil)
		}
	}
	var from, to time.Time
	for _, a := range l.attempts {
		if a.ended.IsZero() {
			continue
		}
		if a.err == nil {
			l.add(SpanConnect, "", a.started, a.ended, true)
			return
		}
		if from.IsZero() {
			from = a.started
		}
		if a.ended.After(to) {
			to = a.ended
		}
	}
	l.add(SpanConnect, "", from, to, false)
}

func (l *spanList) exchangePhases(x recordedExchange) {
	hop := x.Hop.Name()
	l.addUntil(SpanRequest, hop, x.Started, x.Sent, x.ended)
	l.addUntil(SpanFirstReplyByte, hop, x.Sent, x.FirstIn, x.ended)
	l.addUntil(SpanReplyComplete, hop, x.FirstIn, x.Complete, x.ended)
	if x.Err != nil && x.Watched {
		l.add(SpanClose, hop, x.Complete, x.ended, !x.KeptOpen)
	}
}

// tunnelPhases adds the phases of the open tunnel.
func (l *spanList) tunnelPhases() {
	if l.tunnel == nil || l.tunnel.wait == 0 || len(l.exchanges) == 0 {
		return
	}
	complete := l.exchanges[len(l.exchanges)-1].Complete
	if h := l.targetTLS(); h != nil {
		complete = h.Ended
	}
	first := l.tunnel.firstByte
	if l.tunnel.glued > 0 {
		first = complete
	}
	l.addUntil(SpanFirstTunnelByte, "", complete, first, l.tunnel.ended)
	switch l.tunnel.end {
	case endClosed, endTruncated, endReset:
		if first.IsZero() {
			first = l.tunnel.ended
		}
		l.add(SpanClose, "", first, l.tunnel.ended, true)
	}
}
