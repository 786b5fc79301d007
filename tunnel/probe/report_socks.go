package probe

import (
	"errors"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/explain"
	"culvert/tunnel/internal/neterr"
)

// SOCKSHandshake is the conversation with one hop that speaks SOCKS.
type SOCKSHandshake struct {
	Hop        string           `json:"hop"`
	Scheme     string           `json:"scheme"`
	Connection int              `json:"connection"` // as in Exchange
	Before     int              `json:"before"`     // the index in Report.Exchanges of the exchange that followed
	AskedFor   tunnel.Authority `json:"asked_for"`
	Messages   []SOCKSMessage   `json:"messages"`
	Left       string           `json:"left,omitempty"`  // as in Exchange, if the route ends here; always "closed" after a refusal, which is not watched
	Error      string           `json:"error,omitempty"` // why the route ends here
}

// SOCKSMessage is one message to a SOCKS hop, and its answer.
type SOCKSMessage struct {
	Step     client.SOCKSStep `json:"step"`
	Asks     string           `json:"asks"`    // what the request means
	Request  tunnel.WireBytes `json:"request"` // *** stands for the password and its length
	Reply    tunnel.WireBytes `json:"reply"`   // of a refusal without the address, which is not read
	Means    string           `json:"means"`   // what the reply means, or why there is none
	At       Micros           `json:"at_us"`   // since Report.Started
	Duration Micros           `json:"duration_us"`
}

// socksAnswered reports whether the hop answered, if only by a refusal.
func socksAnswered(m *client.SOCKSMessage) bool {
	e, failed := m.Err.(*tunnel.Error)
	return !failed || e.Reported || e.Type == tunnel.ErrorProtocol
}

// socksReports groups the messages by their hops.
func (s *session) socksReports() (out []SOCKSHandshake) {
	for _, m := range s.socks {
		if m.Step == client.SOCKSGreeting || m.Hop.Scheme == tunnel.SchemeSOCKS4A {
			out = append(out, SOCKSHandshake{Hop: s.shown(m.Hop.Name()), Scheme: m.Hop.Scheme, Connection: m.conn, Before: m.before, AskedFor: m.Next})
		}
		r := &out[len(out)-1]
		r.Messages = append(r.Messages, SOCKSMessage{
			Step: m.Step, Asks: s.mask.Text(m.Asks()), Request: s.mask.Message(m.SOCKSMessage), Reply: s.mask.Received(m.Received), Means: s.mask.Text(m.Means()),
			At: s.at(m.Started), Duration: micros(m.Ended.Sub(m.Started)),
		})
		if m.Err != nil {
			sentence, _ := explain.Error(m.Err) // escaped already
			r.Left = leftAfter(m.Err)
			r.Error = s.mask.Text(sentence)
		}
	}
	return out
}

// leftAfter says how a SOCKS proxy left the connection after a message that failed
// with err; "" = the connection went on.
func leftAfter(err error) string {
	e, failed := errors.AsType[*tunnel.Error](err)
	switch {
	case !failed:
		return ""
	case e.Type == tunnel.ErrorConnectionReadTimeout:
		return leftOpen
	case neterr.Reset(e.Err):
		return leftReset
	}
	return leftClosed
}
