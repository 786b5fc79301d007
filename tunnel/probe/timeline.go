package probe

import (
	"slices"
	"time"
)

// spanList gathers a timeline.
type spanList struct {
	*session
	spans []startedSpan
}

// startedSpan has the moment exactly, for the order.
type startedSpan struct {
	Span
	from time.Time
}

// timeline draws up the phases, in the order in which they began.
func (s *session) timeline() []Span {
	l := &spanList{session: s}
	l.reach()
	for _, x := range s.exchanges {
		l.exchange(x)
	}
	for _, m := range s.spoken {
		l.add("socks-"+string(m.Step), m.Hop.Name(), m.Started, m.Ended, socksAnswered(m.SOCKSMessage))
	}
	for _, h := range s.secured {
		phase, hop := SpanTLSProxy, h.Peer()
		if h.Inside() {
			phase, hop = SpanTLSInside, ""
		}
		l.add(phase, hop, h.Started, h.Ended, h.Err == nil)
	}
	l.tunnel()
	slices.SortStableFunc(l.spans, func(a, b startedSpan) int { return a.from.Compare(b.from) })
	spans := make([]Span, len(l.spans))
	for i, span := range l.spans {
		spans[i] = span.Span
	}
	return spans
}

// add adds a phase that began at all.
func (l *spanList) add(phase, hop string, from, to time.Time, finished bool) {
	if !from.IsZero() {
		l.spans = append(l.spans, startedSpan{Span{phase, l.shown(hop), l.at(from), micros(to.Sub(from)), finished}, from})
	}
}

// addUntil is add for a phase that lasted until over where it was not finished.
func (l *spanList) addUntil(phase, hop string, from, to, over time.Time) {
	if to.IsZero() {
		l.add(phase, hop, from, over, false)
		return
	}
	l.add(phase, hop, from, to, true)
}

// reach adds the names' resolution, the attempt to connect that counted, or all of
// them together, and those for further connections.
func (l *spanList) reach() {
	if l.lookup != nil {
		l.add(SpanResolve, "", l.started, l.lookup.ended, l.lookup.err == nil)
	}
	for _, name := range l.further {
		l.add(SpanResolve, "", name.started, name.ended, name.err == nil)
	}
	for _, a := range l.again {
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

func (l *spanList) exchange(x recordedExchange) {
	hop := x.Hop.Name()
	l.addUntil(SpanRequest, hop, x.Started, x.Sent, x.ended)
	l.addUntil(SpanFirstReplyByte, hop, x.Sent, x.FirstIn, x.ended)
	l.addUntil(SpanReplyComplete, hop, x.FirstIn, x.Complete, x.ended)
	if x.Err != nil && x.Watched {
		l.add(SpanClose, hop, x.Complete, x.ended, !x.KeptOpen)
	}
}

// tunnel adds what was listened for in the open tunnel.
func (l *spanList) tunnel() {
	if l.opened == nil || l.opened.wait == 0 || len(l.exchanges) == 0 {
		return
	}
	complete := l.exchanges[len(l.exchanges)-1].Complete
	if h := l.inside(); h != nil {
		complete = h.Ended
	}
	first := l.opened.firstIn
	if l.opened.glued > 0 {
		first = complete
	}
	l.addUntil(SpanFirstTunnelByte, "", complete, first, l.opened.ended)
	switch l.opened.end {
	case endClosed, endTruncated, endReset:
		if first.IsZero() {
			first = l.opened.ended
		}
		l.add(SpanClose, "", first, l.opened.ended, true)
	}
}
