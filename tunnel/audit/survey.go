package audit

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/internal/wire"
	"culvert/tunnel/probe"
	"culvert/tunnel/terminal"
)

// pace is how long a survey waits between two requests.
const pace = 50 * time.Millisecond

// maxPorts limits how many ports one survey asks for.
const maxPorts = 4096

// SurveyTarget is one target of a survey, and how the proxy answered.
type SurveyTarget struct {
	Target string `json:"target"`
	Why    string `json:"why,omitempty"` // what the target is an example of
	Answer string `json:"answer"`        // open, page, denied, tried, refused or no answer
	Status int    `json:"status,omitempty"`
	Words  string `json:"words,omitempty"` // the status line, or why there is none
	code   int    // the exit code that the answer would have as a single exchange
}

// SurveyReport is the result of a survey.
type SurveyReport struct {
	Schema  int            `json:"schema"` // Schema
	Started time.Time      `json:"started"`
	By      string         `json:"by,omitempty"`
	Proxy   string         `json:"proxy"` // its URL, without credentials
	Targets []SurveyTarget `json:"ways"`

	Verdict  string `json:"verdict"`       // how many of each answer
	Why      string `json:"why,omitempty"` // why the survey is inconclusive; "" = it is not
	ExitCode int    `json:"exit_code"`
}

// SurveyReport returns the report of a Survey. If an open tunnel does harm, one that
// opened makes the exit code tunnel.ExitCheck.
func (a *Auditor) SurveyReport(started time.Time, targets []SurveyTarget, harmful bool) *SurveyReport {
	hops := a.Client.Route.Hops
	r := &SurveyReport{Schema: Schema, Started: started.UTC(), By: a.Client.UserAgent, Proxy: hops[len(hops)-1].String(), Targets: targets, Verdict: surveyVerdict(targets)}
	if r.Why, r.ExitCode = inconclusive(targets); r.Why == "" && harmful && anyOpen(targets) {
		r.ExitCode = tunnel.ExitCheck
	}
	return r
}

// WriteJSON writes the survey as one JSON document.
func (r *SurveyReport) WriteJSON(w io.Writer) error { return writeJSON(w, r) }

// The answers of a survey.
const (
	answerOpen   = "open"      // 2xx
	answerPage   = "page"      // 2xx, and a page instead of a tunnel
	answerDenied = "denied"    // by policy: 403 and the like
	answerTried  = "tried"     // the proxy tried in vain: 502, 503, 504
	answerOther  = "refused"   // any other refusal
	answerNone   = "no answer" // the connection was closed, or silent
)

// Survey asks the proxy for each target, one after the other, and returns them with
// the answers. It closes each tunnel that opens at once, and sends nothing through it.
// The error is that of a proxy that cannot be reached, or of the context.
func (a *Auditor) Survey(ctx context.Context, targets []SurveyTarget) ([]SurveyTarget, error) {
	b := &bench{Auditor: a.withDefaults(), missing: make(map[need]string)}
	conn, err := a.Client.OpenProxy(ctx)
	if err != nil {
		return nil, err
	}
	conn.Close()
	if len(targets) > 0 {
		first, _ := tunnel.ParseAuthority(targets[0].Target) // zero if it is not an authority
		b.logIn(ctx, first)
	}
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for i := range targets {
		if a.Progress != nil {
			a.Progress(i, len(targets), targets[i].Target)
		}
		b.ask(ctx, &targets[i])
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if a.Progress != nil {
		a.Progress(len(targets), len(targets), "")
	}
	return targets, nil
}

// ask asks the proxy for one target.
func (b *bench) ask(ctx context.Context, w *SurveyTarget) {
	t := &trial{bench: b, ctx: ctx}
	defer t.end()
	w.Answer = answerNone
	o := t.attempt(func(t *trial) {
		k := t.talk()
		k.send("CONNECT " + w.Target + " HTTP/1.1\r\nHost: " + w.Target + "\r\n{auth}\r\n")
		reply, err := k.reply()
		if err != nil {
			w.code = noAnswerCode(err)
			k.fail("no answer: %s", reason(err))
		}
		w.Status, w.Words = reply.Code, b.masked(line(reply))
		w.Answer, w.code = surveyAnswer(reply, k.afterHead(reply))
	})
	if w.Answer == answerNone {
		w.Words = b.masked(ascii(o.words))
	}
}

// noAnswerCode returns the exit code for a proxy that gave no answer.
func noAnswerCode(err error) int {
	if timedOut(err) {
		return tunnel.ExitDeadline
	}
	return tunnel.ExitNotAProxy
}

// afterHead returns what follows the head of a reply: the content of a refusal, or
// what a tunnel brought at once, if its head does not look like that of a tunnel.
func (k *talk) afterHead(reply *wire.Reply) []byte {
	if reply.Code/100 != 2 {
		content, _ := k.content(reply)
		return content[:min(len(content), 4<<10)]
	}
	if k.br.Buffered() == 0 && !reply.Has("Content-Length") && !reply.Has("Transfer-Encoding") && !reply.Has("Content-Type") {
		return nil
	}
	_, came := k.readToEnd(k.Quiet)
	return came[:min(len(came), 4<<10)]
}

// surveyAnswer returns the answer of a survey for a reply to CONNECT, and the exit
// code that the reply would have as a single exchange.
func surveyAnswer(reply *wire.Reply, behind []byte) (answer string, code int) {
	code = tunnel.ExitCode(probe.CheckReply(reply.Raw, behind))
	switch {
	case code == tunnel.ExitOK:
		return answerOpen, code
	case reply.Code/100 == 2:
		return answerPage, code
	case code == tunnel.ExitRefused || statusDenies(reply):
		return answerDenied, tunnel.ExitRefused
	case code == tunnel.ExitTarget:
		return answerTried, code
	}
	return answerOther, code
}

// statusDenies reports whether Proxy-Status names a decision of the proxy's. For a
// prohibited address RFC 9209, section 2.3.5 recommends 502, which alone would mean
// that the proxy tried.
func statusDenies(reply *wire.Reply) bool {
	for _, value := range reply.Values("Proxy-Status") {
		for _, token := range [...]string{"destination_ip_prohibited", "http_request_denied"} {
			if strings.Contains(value, "error="+token) {
				return true
			}
		}
	}
	return false
}

// inconclusive returns why a survey is inconclusive and the exit code for that, "" if
// it is not. A proxy that gives the same answer to everything has decided nothing.
func inconclusive(targets []SurveyTarget) (why string, code int) {
	if len(targets) == 0 {
		return "", tunnel.ExitOK
	}
	first := targets[0]
	silent := first.Answer == answerNone // closed or silent, which makes no difference
	if slices.ContainsFunc(targets, func(w SurveyTarget) bool {
		return w.Answer != first.Answer || !silent && (w.code != first.code || w.Status != first.Status)
	}) {
		return "", tunnel.ExitOK
	}
	switch {
	case silent:
		return "no answer in HTTP came, and nothing was judged", first.code
	case first.code == tunnel.ExitCredentials:
		return "the proxy wants credentials, and judged nothing", first.code
	case first.Status == 405 || first.Status == 501:
		return "the proxy has no CONNECT, and judged nothing", first.code
	case first.Answer == answerPage:
		return "a page came instead of each tunnel: it is no proxy, or a login page stands in the way", first.code
	case first.Status/100 == 3 || first.Status == 511:
		return "every answer sends elsewhere: a login page may stand in the way", first.code
	case first.code == tunnel.ExitNotAProxy && (len(targets) > 1 || first.Status == 400 || first.Status == 404):
		return fmt.Sprintf("every answer is %d, which judges nothing: it may be no proxy", first.Status), first.code
	}
	return "", tunnel.ExitOK
}

// ParsePorts parses ports and ranges of ports, as "22,80,8000-8010".
func ParsePorts(list string) ([]uint16, error) {
	var ports []uint16
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			to = from
		}
		low, err1 := strconv.ParseUint(from, 10, 16)
		high, err2 := strconv.ParseUint(to, 10, 16)
		if err1 != nil || err2 != nil || low == 0 || low > high {
			return nil, fmt.Errorf("%q is no port and no range of them", part)
		}
		if len(ports)+int(high-low) >= maxPorts {
			return nil, fmt.Errorf("these are more than %d ports", maxPorts)
		}
		for p := low; p <= high; p++ {
			if !slices.Contains(ports, uint16(p)) {
				ports = append(ports, uint16(p))
			}
		}
	}
	return ports, nil
}

// PortTargets returns the ports of one host, given as it stands in an authority.
func PortTargets(host string, ports []uint16) (targets []SurveyTarget) {
	for _, p := range ports {
		targets = append(targets, SurveyTarget{Target: fmt.Sprintf("%s:%d", host, p)})
	}
	return targets
}

// Reachable returns targets that a proxy for others should not open: itself, its own
// machine in every spelling, private networks, and the metadata services of clouds.
// proxy is the proxy's own address. If that is zero, as the proxy listens on a unix
// socket, its machine is asked for by ssh's port.
func Reachable(proxy tunnel.Authority) []SurveyTarget {
	p := fmt.Sprint(cmp.Or(proxy.Port(), 22))
	var targets []SurveyTarget
	if !proxy.IsZero() {
		targets = append(targets, SurveyTarget{Target: proxy.String(), Why: "the proxy itself"})
	}
	for _, w := range [...]struct{ target, why string }{
		{"127.0.0.1:" + p, "the proxy's own loopback"},
		{"localhost:" + p, "the same, by name"},
		{"localhost.:" + p, "with the root's dot"},
		{"LOCALHOST:" + p, "in capitals"},
		{"[::1]:" + p, "by IPv6"},
		{"[::ffff:127.0.0.1]:" + p, "IPv4 in IPv6"},
		{"[::ffff:7f00:1]:" + p, "the same in hexadecimal"},
		{"[::]:" + p, "the unspecified address of IPv6"},
		{"0.0.0.0:" + p, "the unspecified address"},
		{"127.1:" + p, "a short form"},
		{"127.255.255.254:" + p, "the far end of loopback"},
		{"0x7f000001:" + p, "in hexadecimal"},
		{"2130706433:" + p, "as one number"},
		{"0177.0.0.1:" + p, "in octal"},
		{"[64:ff9b::7f00:1]:" + p, "through NAT64"},
		{"10.0.0.1:80", "private, RFC 1918"},
		{"172.16.0.1:80", "private, RFC 1918"},
		{"192.168.0.1:80", "private, RFC 1918"},
		{"100.64.0.1:80", "shared, RFC 6598"},
		{"[fc00::1]:80", "private, RFC 4193"},
		{"[fe80::1]:80", "link-local"},
		{"169.254.1.1:80", "link-local"},
		{"169.254.169.254:80", "metadata of AWS, Azure, Google and others"},
		{"[fd00:ec2::254]:80", "metadata of AWS by IPv6"},
		{"169.254.170.2:80", "credentials of AWS's containers"},
		{"169.254.170.23:80", "credentials of AWS's Kubernetes pods"},
		{"[fd00:ec2::23]:80", "the same by IPv6"},
		{"metadata.google.internal:80", "metadata of Google by name"},
		{"100.100.100.200:80", "metadata of Alibaba"},
		{"168.63.129.16:80", "Azure's host"},
		{"192.0.0.192:80", "metadata of Oracle"},
		{"224.0.0.1:80", "multicast"},
		{"255.255.255.255:80", "broadcast"},
	} {
		if w.target != proxy.String() {
			targets = append(targets, SurveyTarget{Target: w.target, Why: w.why})
		}
	}
	return targets
}

func anyOpen(targets []SurveyTarget) bool {
	return slices.ContainsFunc(targets, func(w SurveyTarget) bool { return w.Answer == answerOpen })
}

// answerWords explains the answers that are not clear by themselves.
var answerWords = map[string]string{
	answerPage:  "a page came instead of a tunnel",
	answerTried: "no rule forbade it, and the proxy got no connection there",
	answerOther: "neither a rule nor a connection is told of",
}

// surveyVerdict returns how many there are of each answer.
func surveyVerdict(targets []SurveyTarget) string {
	counts := map[string]int{}
	for _, t := range targets {
		counts[t.Answer]++
	}
	var sums []string
	for _, answer := range [...]string{answerOpen, answerPage, answerTried, answerDenied, answerOther, answerNone} {
		if n := counts[answer]; n > 0 {
			sums = append(sums, fmt.Sprintf("%d %s", n, answer))
		}
	}
	return strings.Join(sums, ", ")
}

// WriteText writes the answer for each target, and how many there are of each, for a
// person.
func (r *SurveyReport) WriteText(w io.Writer, style terminal.Style) error {
	var b strings.Builder
	seen := map[string]bool{}
	colour := map[string]terminal.Colour{answerOpen: style.Bad, answerPage: style.Warn, answerTried: style.Warn, answerDenied: style.Good, answerOther: style.Good, answerNone: style.Warn}
	for _, t := range r.Targets {
		seen[t.Answer] = true
		answer := colour[t.Answer].Paint(fmt.Sprintf("%-9s", t.Answer))
		fmt.Fprintln(&b, strings.TrimRight(fmt.Sprintf("  %s  %-30s  %-42s  %s", answer, t.Target, t.Words, style.Faint.Paint(t.Why)), " "))
	}
	for _, answer := range [...]string{answerPage, answerTried, answerOther} {
		if seen[answer] {
			fmt.Fprintln(&b, style.Faint.Paint("  "+answer+": "+answerWords[answer]))
		}
	}
	fmt.Fprintf(&b, "%s %s\n", style.Bold.Paint("verdict:"), r.Verdict)
	_, err := io.WriteString(w, b.String())
	return err
}
