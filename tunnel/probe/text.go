package probe

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/internal/wire"
	"culvert/tunnel/terminal"
)

// Bounds on how much of a terminal one part of the text takes; JSON has everything.
const (
	maxLineShown     = 1000 // bytes of ASCII in one line
	maxLinesShown    = 100  // of a head or of a tunnel
	maxContentShown  = 20   // lines; error pages are mostly style
	maxIdentityShown = 30   // fields in which a proxy identifies itself
)

// WriteText writes the Report for people, as curl -v would: each line begins with
// "* " for what culvert says, "> " for what was sent, or "< " for what came. One
// line of the wire takes one line, escaped. The last line is the verdict. The error
// is the writer's.
func (r *Report) WriteText(w io.Writer, style terminal.Style) error {
	return r.write(w, &reportText{Style: style})
}

func (r *Report) write(w io.Writer, t *reportText) error {
	t.plan(r)
	for i := range r.Exchanges {
		t.socks(r, i)
		t.tls(r, i)
		t.exchange(&r.Exchanges[i])
		t.frames(r, r.Exchanges[i].Hop)
	}
	t.socks(r, len(r.Exchanges))
	t.tls(r, len(r.Exchanges))
	t.tlsTry(r.TLSTry)
	if r.Tunnel != nil {
		t.tunnel(r, r.Tunnel)
	}
	t.timeline(r)
	t.interception(r.Interception)
	for i := range r.Exchanges {
		t.identity(r, i)
	}
	t.findings(r)
	t.verdict(r)
	_, err := w.Write(t.out.Bytes())
	return err
}

// reportText collects the text, so that it is written at once.
type reportText struct {
	terminal.Style
	hex bool
	out bytes.Buffer
}

// printf adds a line of culvert's own.
func (t *reportText) printf(format string, args ...any) {
	t.printfHanging("", format, args...)
}

// printfHanging is printf with an indent for further lines, if the line has to be
// folded; "" = two columns more than the line's own.
func (t *reportText) printfHanging(hang, format string, args ...any) {
	words := fmt.Sprintf(format, args...)
	if hang == "" {
		hang = strings.Repeat(" ", len(words)-len(strings.TrimLeft(words, " "))+2)
	}
	mark := t.Talk.Paint("*") + " "
	t.out.WriteString(strings.TrimRight(t.Fold(mark+words, mark+hang), " ") + "\n")
}

// hangFinding indents the further lines of a finding.
const hangFinding = "        "

// heading adds the line that opens a part.
func (t *reportText) heading(words string) {
	t.printf("")
	t.printf("%s", t.Bold.Paint(words))
}

// wire adds bytes, one line of the wire on each line, and at most the given number
// of lines.
func (t *reportText) wire(mark string, colour terminal.Colour, b []byte, limit int) {
	lines, left := 0, len(b)
	for line := range bytes.Lines(b) {
		if lines == limit {
			t.printf("%d further bytes are not shown here: --json has them", left)
			return
		}
		t.out.WriteString(colour.Paint(mark+" "+wire.Escape(line, maxLineShown)) + "\n")
		lines, left = lines+1, left-len(line)
	}
}

func (t *reportText) plan(r *Report) {
	for _, a := range r.Plan.Abandoned {
		t.printf("%s cannot be taken: %s", strings.Join(a.Hops, ", then "), t.Bad.Paint(a.Why))
	}
	way := strings.Join(r.Plan.Hops, ", then ")
	if r.Plan.Why != "" {
		way += " (" + r.Plan.Why + ")"
	}
	t.printf("CONNECT %s through %s", t.Bold.Paint(r.Target.String()), way)
	if r.Lookup != nil {
		t.lookup(r.Lookup, "")
	}
	for _, a := range r.Attempts {
		if a.Connected {
			t.printf("connect %s: connected", a.Address)
		} else {
			t.printf("connect %s: %s", a.Address, t.Bad.Paint(a.Error))
		}
	}
	for i := range r.FurtherLookups {
		t.lookup(&r.FurtherLookups[i], ", which socks5 is asked for by address")
	}
}

func (t *reportText) lookup(l *Lookup, why string) {
	answer := strings.Join(l.Addresses, ", ")
	if l.Error != "" {
		answer = t.Bad.Paint(l.Error)
	}
	t.printf("resolve %s%s: %s", l.Host, why, answer)
}

func (t *reportText) exchange(x *Exchange) {
	t.printf("ask %s for %s%s", x.Hop, x.AskedFor, connectionNote(x.Connection))
	dumped := t.hex && len(x.Segments) > 0
	if dumped {
		t.dumpExchange(x)
	} else {
		t.wire(">", t.Sent, x.Request, maxLinesShown)
		t.wire("<", t.Received, bytes.Join(asBytes(x.Interim), nil), maxLinesShown)
		t.wire("<", t.Received, x.Reply, maxLinesShown)
	}
	if x.Status == 0 {
		t.printf("%s", t.Bad.Paint(x.Error))
		return
	}
	if len(x.Content) > 0 && !dumped {
		coding := ""
		if x.ContentCoding != "" {
			coding = ", encoded as " + x.ContentCoding
		}
		t.printf("content, the first %s%s:", bytesOf(len(x.Content)), coding)
		t.wire("<", t.Received, x.Content, maxContentShown)
	}
	switch x.AfterRefusal {
	case "closed":
		t.printf("the proxy closed the connection after its refusal")
	case "kept open":
		t.printf("the proxy kept the connection open after its refusal")
	}
}

// frames lists the frames exchanged with a hop. The exchange with it stands above.
func (t *reportText) frames(r *Report, hop string) {
	began := false
	for _, f := range r.Frames {
		if f.Hop != hop {
			continue
		}
		if !began {
			began = true
			t.printf("frames of HTTP/2, without DATA:")
			if t.hex { // no masking of them would be certain (RFC 7541)
				t.printf("--hex shows no bytes of theirs, in which credentials may stand coded by HPACK")
			}
		}
		mark, dress := "<", t.Received
		if f.Sent {
			mark, dress = ">", t.Sent
		}
		t.out.WriteString(dress.Paint(fmt.Sprintf("%s %9.3f ms  %s", mark, float64(f.At)/1000, f.Frame)) + "\n")
	}
}

// tlsTry reports the further connection.
func (t *reportText) tlsTry(try *TLSTry) {
	if try != nil {
		t.printf("a further connection to %s, with TLS: %s", try.Hop, try.Words)
	}
}

// connectionNote names a connection other than the first.
func connectionNote(connection int) string {
	if connection < 2 {
		return ""
	}
	return fmt.Sprintf(", over connection %d", connection)
}

func (t *reportText) tunnel(r *Report, n *Tunnel) {
	if n.Wait == 0 && len(n.Data) == 0 {
		t.printf("the reply opens the tunnel, which was not listened to")
		return
	}
	t.printf("the reply opens the tunnel")
	if t.hex {
		t.dumpTunnel(n, len(r.Exchanges) > 0 && len(r.Exchanges[len(r.Exchanges)-1].Segments) > 0)
	} else {
		t.wire(">", t.Sent, n.Sent, maxLinesShown)
		t.wire("<", t.Received, n.Data, maxLinesShown)
	}
	came := "nothing came out of the tunnel"
	if len(n.Data) > 0 {
		came = bytesOf(len(n.Data)) + " came out of the tunnel"
	}
	full := n.End == string(endFull)
	if n.Wait > 0 && !full {
		came += fmt.Sprintf(" within %v", n.Wait.Duration())
	}
	if n.Glued > 0 {
		came += fmt.Sprintf(" (%d together with the reply)", n.Glued)
	}
	switch {
	case full:
		came += "; probe reads no more"
	case n.Wait > 0:
		came += "; then it was " + n.End
	}
	t.printf("%s", came)
}

// identity adds what an answer says about the proxy, unless an earlier answer of
// the same hop said the same.
func (t *reportText) identity(r *Report, i int) {
	x := r.Exchanges[i]
	saidBefore := func(same func(Exchange) bool) bool {
		return slices.ContainsFunc(r.Exchanges[:i], func(e Exchange) bool { return e.Hop == x.Hop && same(e) })
	}
	if x.Product != "" && !saidBefore(func(e Exchange) bool { return e.Product == x.Product }) {
		t.printf("")
		t.printf("%s looks like %s (by %s)", x.Hop, t.Bold.Paint(x.Product), x.ProductSign)
	}
	if len(x.Identity) == 0 || saidBefore(func(e Exchange) bool { return slices.Equal(e.Identity, x.Identity) }) {
		return
	}
	t.heading(r.requestAt(i) + " says of itself")
	for _, f := range x.Identity[:min(len(x.Identity), maxIdentityShown)] {
		t.printf("  %-14s %s", f.Name, f.Value)
	}
	if more := len(x.Identity) - maxIdentityShown; more > 0 {
		t.printf("  %d further fields are not shown here: --json has them", more)
	}
	for _, p := range x.ProxyStatus[:min(len(x.ProxyStatus), maxIdentityShown)] {
		if p.Error == "" {
			continue
		}
		cause := strings.ReplaceAll(p.Error, "_", " ")
		if p.Details != "" && p.Details != cause {
			cause += ", " + p.Details
		}
		t.printf("  %s gives as cause: %s", p.Name, cause)
	}
}

// findings lists the findings, those on TLS first.
func (t *reportText) findings(r *Report) {
	for _, h := range r.TLS {
		t.findingsOf("findings on TLS with "+h.Peer, r, func(f Finding) bool { return f.Exchange < 0 && f.Hop == h.Peer }, false)
	}
	for i, x := range r.Exchanges {
		again := slices.ContainsFunc(r.Exchanges[i+1:], func(e Exchange) bool { return e.Hop == x.Hop })
		t.findingsOf("findings at "+r.requestAt(i), r, func(f Finding) bool { return f.Exchange == i }, again)
	}
}

// requestAt names an exchange by its hop and, if the hop was asked before, by its
// number, as the timeline does.
func (r *Report) requestAt(i int) string {
	name, n := r.Exchanges[i].Hop, 0
	for _, x := range r.Exchanges[:i+1] {
		if x.Hop == name {
			n++
		}
	}
	if n == 1 {
		return name
	}
	return fmt.Sprintf("%s, request %d", name, n)
}

// findingsOf lists the findings that selects accepts, and the skipped checks in one line
// for each reason. With brief it lists warnings and failures only, for a hop whose
// findings are listed again.
func (t *reportText) findingsOf(heading string, r *Report, selects func(Finding) bool, brief bool) {
	t.heading(heading)
	var reasons []string
	passed := 0
	skipped := map[string][]string{}
	for _, f := range r.Findings {
		switch {
		case !selects(f), brief && f.Grade == Skip:
		case brief && f.Grade == Pass:
			passed++
		case f.Grade != Skip:
			t.finding(f)
		default:
			if skipped[f.Evidence] == nil {
				reasons = append(reasons, f.Evidence)
			}
			skipped[f.Evidence] = append(skipped[f.Evidence], f.ID)
		}
	}
	if brief {
		t.printf("  %s  %d checks, which --json lists", t.Good.Paint(string(Pass)), passed)
	}
	for _, reason := range reasons {
		t.printfHanging(hangFinding, "  %s  %s: %s", t.Faint.Paint("skip"), reason, t.Faint.Paint(strings.Join(skipped[reason], ", ")))
	}
}

func (t *reportText) finding(f Finding) {
	colour := map[Grade]terminal.Colour{Pass: t.Good, Warn: t.Warn, Fail: t.Bad}[f.Grade]
	mark := t.Talk.Paint("*") + " "
	row := fmt.Sprintf("%s  %s  %-22s  %-6s  %-14s", mark, colour.Paint(string(f.Grade)), f.ID, f.Level, shortRFC(f.RFC))
	t.out.WriteString(t.FoldRow(row, f.Title, mark+hangFinding) + "\n")
	if f.Evidence != "" && f.Grade != Pass {
		t.printfHanging(hangFinding, hangFinding+"%s", f.Evidence)
	}
}

func (t *reportText) verdict(r *Report) {
	v := &r.Verdict
	t.printf("")
	if len(r.Plan.Hops) > 1 && v.Sentence != "" {
		t.printf("%s", v.Sentence) // it names the hop
	}
	if v.Hint != "" {
		t.printf("hint: %s", v.Hint)
	}
	colour := t.Bad
	switch {
	case v.ExitCode == tunnel.ExitOK:
		colour = t.Good
	case v.Kind == VerdictCredentials:
		colour = t.Warn
	}
	t.out.WriteString(t.Fold(t.Bold.Paint("verdict:")+" "+colour.Paint(v.Words), "  ") + "\n")
}

// bytesOf says a number of bytes in words.
func bytesOf(n int) string {
	if n == 1 {
		return "1 byte"
	}
	return fmt.Sprintf("%d bytes", n)
}

func asBytes(pieces []tunnel.WireBytes) (out [][]byte) {
	for _, b := range pieces {
		out = append(out, b)
	}
	return out
}
