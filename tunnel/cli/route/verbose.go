package route

import (
	"bytes"
	"net/netip"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/explain"
	"culvert/tunnel/stdio"
)

// Verbose is --verbose: it writes each step of opening a tunnel, for a person. Without
// the flag it writes nothing.
type Verbose struct {
	plan        *Plan
	say         func(format string, a ...any) // nil = the flag is not given
	showSecrets bool
}

// Verbose returns the Verbose of a Plan. say writes one line.
func (p *Plan) Verbose(say func(format string, a ...any)) *Verbose {
	v := &Verbose{plan: p, showSecrets: p.flags.Bool("show-secrets")}
	if p.flags.Bool("verbose") {
		v.say = say
	}
	return v
}

// Say writes one line.
func (v *Verbose) Say(format string, a ...any) {
	if v.say != nil {
		v.say(format, a...)
	}
}

// Plan writes the route to a target, why it was chosen, and the notes about it.
func (v *Verbose) Plan(target tunnel.Authority) {
	p := v.plan
	if p.Client.Route.Direct() {
		v.Say("to %s direct: %s", TargetText(target), p.Why)
	} else {
		v.Say("to %s through %s: %s", TargetText(target), p.Client.Route, p.Why)
	}
	for _, note := range p.Notes {
		v.Say("%s", note)
	}
	if proxy, ok := p.Client.PasswordInClear(); ok {
		unless := ""
		if p.Client.Auth == "" {
			unless = "by Basic, if the proxy wants that, "
		}
		v.Say("%sthe credentials go to %s in clear: who listens on the way can read them", unless, proxy)
	}
}

// Trace returns a Trace that writes each step of the Client, nil if the flag is not
// given.
func (v *Verbose) Trace() *client.Trace {
	if v.say == nil {
		return nil
	}
	return &client.Trace{
		Resolved: func(host string, addrs []netip.Addr, err error) {
			if err == nil {
				v.Say("%s resolves to %v", host, addrs)
			}
		},
		Connecting: func(addr string) { v.Say("connecting to %s", addr) },
		Connected: func(addr string, err error) {
			if err != nil {
				v.Say("%s: %v", addr, err)
				return
			}
			v.Say("connected to %s", addr)
		},
		Abandoned: func(left tunnel.Route, why error, next tunnel.Route) {
			sentence, _ := explain.Error(why)
			v.Say("%s cannot be taken: %s; trying %s", left, sentence, next)
		},
		LoginChanged:   v.loginChanged,
		SOCKSExchanged: v.spoken,
		Secured:        v.secured,
		Exchanged:      v.exchanged,
	}
}

// loginChanged writes why a login goes on in another way, and how to forbid a scheme that
// shows the password.
func (v *Verbose) loginChanged(c client.LoginChange) {
	why := "the proxy refused the credentials"
	if c.Err != nil {
		why = string(v.masked([]byte(c.Err.Error())))
	}
	if c.Next == c.Scheme {
		v.Say("%s at %s: %s; trying again over another connection", c.Scheme, c.Proxy, why)
		return
	}
	v.Say("%s at %s: %s; trying %s", c.Scheme, c.Proxy, why, c.Next)
	if c.Next == "Basic" {
		v.Say("hint: Basic shows the proxy the password itself: --auth %s keeps to %s", strings.ToLower(c.Scheme), c.Scheme)
	}
}

// secured writes how a TLS handshake ended.
func (v *Verbose) secured(h *client.TLSHandshake) {
	for _, line := range explain.TLS(h) { // a certificate may contain what the proxy was sent
		v.Say("%s", v.masked([]byte(line)))
	}
}

// spoken writes a SOCKS message, the answer, and what they mean.
func (v *Verbose) spoken(x *client.SOCKSMessage) {
	v.Say("%s: %s", x.Step, x.Asks())
	v.Say("> %s", tunnel.EscapeLine(x.Sent))
	if len(x.Received) > 0 {
		v.Say("< %s", tunnel.EscapeLine(x.Received))
	}
	v.Say("%s", x.Means())
}

// exchanged writes the heads of one exchange, escaped where they are not printable.
func (v *Verbose) exchanged(x *client.Exchange) {
	v.head(">", x.Request)
	for _, interim := range x.Interim {
		v.head("<", interim)
	}
	v.head("<", x.Reply)
	if x.Glued > 0 {
		v.Say("%d bytes of the target's came along with the answer", x.Glued)
	}
}

// head writes the lines of a head, each behind the mark.
func (v *Verbose) head(mark string, head []byte) {
	for line := range bytes.Lines(v.masked(head)) {
		v.Say("%s %s", mark, tunnel.EscapeLine(line))
	}
}

// masked hides credentials in text, unless --show-secrets is given.
func (v *Verbose) masked(text []byte) []byte {
	if v.showSecrets {
		return text
	}
	return v.plan.Client.Mask(text)
}

// Ended writes how many bytes went through the tunnel.
func (v *Verbose) Ended(r stdio.Result) {
	v.Say("tunnel ended: %d bytes up, %d bytes down", r.Up, r.Down)
	if r.HalfClosed && r.After == 0 && !v.plan.Client.Route.Direct() {
		v.Say("nothing came after end of file on stdin was passed on: if an answer is missing, try --on-eof wait")
	}
}

// TargetText returns a target for a person. A zero target stands for those that
// programs name by SOCKS.
func TargetText(target tunnel.Authority) string {
	if target.IsZero() {
		return "any target"
	}
	return target.String()
}
