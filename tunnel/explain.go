package tunnel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"culvert/tunnel/internal/page"
	"culvert/tunnel/internal/wire"
)

// Explain puts a failure of Client or Stdio into one sentence for the person
// who waits for the tunnel, who may see nothing else of it (under ssh, say),
// and a hint that tells what to do next, "" if there is nothing to be done.
// Neither has a line break or a control character, whatever a proxy sent. Any
// other error is its own sentence.
func Explain(err error) (sentence, hint string) {
	var e *Error
	switch {
	case !errors.As(err, &e):
		return wire.Escape([]byte(err.Error()), 4*maxDetail), ""
	case e.Phase == PhaseRelay:
		return e.explainBroken()
	case e.ownLimit():
		return ownLimit + " on the way to " + e.whither() + e.because(), hintDescriptors
	case errors.Is(err, context.Canceled):
		return "cancelled on the way to " + e.whither(), ""
	case e.Phase == PhaseReply && (e.Status != 0 || e.Told):
		return e.explainAnswer()
	case e.Phase == PhaseTLS:
		return e.explainTLS()
	case e.Hop == "" && e.Type == ErrorRequest:
		return "the request cannot be sent: " + e.cause(), ""
	case e.Hop == "":
		return e.explainTarget()
	case e.Phase == PhaseRequest || e.Phase == PhaseReply:
		return e.explainSilence()
	}
	return e.explainProxy()
}

// answered returns what is known of the answer, or the zero value.
func (e *Error) answered() AnswerTrouble {
	if e.Answer == nil {
		return AnswerTrouble{}
	}
	return *e.Answer
}

// credentials returns what is known of the login, or the zero value.
func (e *Error) credentials() LoginTrouble {
	if e.Login == nil {
		return LoginTrouble{}
	}
	return *e.Login
}

// What is said where this machine has no descriptor left, or culvert may have no
// more of them.
const (
	ownLimit        = "culvert's own limit"
	hintDescriptors = "this machine ran out of descriptors: raise ulimit -n"
)

// ownLimit reports whether there was no descriptor for a connection.
func (e *Error) ownLimit() bool {
	return e.Type == ErrorConnectionLimit && e.Phase == PhaseConnect
}

// whither names what was on the way to be reached.
func (e *Error) whither() string {
	if e.Hop != "" {
		return e.proxy()
	}
	return e.Target.String()
}

// proxy names the proxy. A socket's path may hold anything.
func (e *Error) proxy() string { return "proxy " + wire.Escape([]byte(e.Hop), maxDetail) }

// where says where the proxy can be corrected.
func (e *Error) where(what string) string {
	if e.Source == "" {
		return what
	}
	return what + " in " + wire.Escape([]byte(e.Source), 80)
}

// because is ": " and the cause that lies beneath, in the system's words.
func (e *Error) because() string {
	if e.Err == nil {
		return ": " + e.cause()
	}
	return ": " + wire.Escape([]byte(e.Err.Error()), maxDetail)
}

// explainBroken is for a tunnel that was open.
func (e *Error) explainBroken() (sentence, hint string) {
	through := ""
	if e.Hop != "" {
		through = " through " + e.proxy()
	}
	return "the tunnel to " + e.Target.String() + through + " broke" + e.because(),
		"the target, or something on the way with an idle limit, cut it: for ssh, try ServerAliveInterval 30"
}

// hintVersion is for an address that -4 or -6 excludes.
const hintVersion = "leave -4 and -6 out, or give a name"

// explainTarget is for a target that is connected to without a proxy.
func (e *Error) explainTarget() (sentence, hint string) {
	target := e.Target.String()
	switch e.Type {
	case ErrorDestinationUnroutable:
		if e.Phase == PhaseResolve {
			return target + " cannot be reached: " + e.cause(), hintVersion
		}
	case ErrorDNS:
		return target + " cannot be resolved" + e.unresolved(), "check the name; if only a proxy can resolve it, name that with --proxy"
	case ErrorDNSTimeout:
		return target + " cannot be resolved: the name server did not answer in time", "check the network; if it wants a proxy, name that with --proxy"
	case ErrorConnectionRefused:
		return target + " refused the connection", fmt.Sprintf("nothing listens on port %d there: check the port, or whether the server runs", e.Target.Port())
	case ErrorConnectionTimeout:
		return target + " did not accept the connection in time", "a firewall may stand between: if this network wants a proxy, name it with --proxy"
	}
	return target + " cannot be reached" + e.because(), "check the network; if it wants a proxy, name that with --proxy"
}

// unresolved says why a name has no address.
func (e *Error) unresolved() string {
	if e.Detail != "" {
		return ": " + e.Detail
	}
	return e.because()
}

// explainProxy is for a proxy that could not be reached.
func (e *Error) explainProxy() (sentence, hint string) {
	if strings.HasPrefix(e.Hop, SchemeUnix+":") {
		return e.proxy() + " cannot be reached" + e.because(), "check " + e.where("the socket's path") + ", its permissions, and whether the proxy runs"
	}
	switch e.Type {
	case ErrorDestinationUnroutable:
		if e.Phase == PhaseResolve {
			return e.proxy() + " cannot be reached: " + e.cause(), hintVersion
		}
	case ErrorDNS:
		return e.proxy() + " cannot be resolved" + e.unresolved(), "check " + e.where("the proxy's name") + "; some are known only inside their network or VPN"
	case ErrorDNSTimeout:
		return e.proxy() + " cannot be resolved: the name server did not answer in time", "check the network, or give " + e.where("the proxy's address") + " instead of its name"
	case ErrorConnectionRefused:
		return e.proxy() + " refused the connection", "nothing listens there: check " + e.where("the proxy's port") + ", or whether the proxy runs"
	case ErrorConnectionTimeout:
		return e.proxy() + " did not accept the connection in time", "a firewall may stand between: check " + e.where("the proxy's address") + ", or wait longer with --connect-timeout"
	}
	return e.proxy() + " cannot be reached" + e.because(), "check " + e.where("the proxy's address") + " and the network"
}

// explainAnswer is for a proxy's final reply that opened no tunnel. The verdict
// is the Type's, which a Proxy-Status field may have set, not the code's alone.
func (e *Error) explainAnswer() (sentence, hint string) {
	target, answer := e.Target.String(), e.answer()
	switch e.ExitCode() {
	case ExitCredentials:
		return e.explainCredentials()
	case ExitRefused:
		switch {
		case e.answered().Portal && e.Status/100 == 3:
			return e.proxy() + " answered " + target + " with a redirect: " + answer, hintPortal
		case e.answered().Portal:
			return e.proxy() + " refused " + target + ": " + answer, hintPortal
		}
		return e.proxy() + " refused " + target + ": " + answer, e.refusedHint()
	case ExitTarget:
		return e.proxy() + " could not reach " + target + ": " + answer, e.unreachedHint()
	}
	if e.Told {
		return e.proxy() + " cannot open " + target + ": " + answer, "give the target by its name and leave that to the proxy, with socks5h:// or socks4a://"
	}
	switch e.Status {
	case http.StatusInternalServerError:
		return e.proxy() + " failed on " + target + ": " + answer, "tell the proxy's administrator, or try again later"
	case http.StatusPaymentRequired:
		return e.proxy() + " refused " + target + ": " + answer, "a quota may be used up, or a payment be due: ask who runs the proxy"
	}
	return e.proxy() + " did not understand CONNECT for " + target + ": " + answer,
		e.misunderstoodHint() + "check " + e.where("the proxy's host and port")
}

// misunderstoodHint guesses who answers CONNECT like that.
func (e *Error) misunderstoodHint() string {
	switch e.Status {
	case http.StatusMisdirectedRequest: // RFC 9110, section 15.5.20
		return "it answers for certain names only, and is no proxy under this one: "
	case http.StatusSwitchingProtocols:
		return "it changes to a protocol that nobody asked for, and is no proxy: "
	}
	return "it may be a web server, not a proxy, or want TLS, for which use https://: "
}

// withoutTitle takes a page's title off that says again what the status line
// said.
func withoutTitle(words, title string) string {
	if len(title) == 0 || len(words) <= len(title) || !strings.EqualFold(words[:len(title)], title) {
		return words
	}
	rest := strings.TrimLeft(words[len(title):], " :.")
	if len(rest) == len(words)-len(title) { // a longer word, and no title
		return words
	}
	return rest
}

// answer is the proxy's status line in brief, with its own words behind it.
func (e *Error) answer() string {
	if e.Told {
		return e.cause()
	}
	answer := fmt.Sprint(e.Status)
	if reason := e.reason(); reason != "" {
		answer += " " + wire.Escape([]byte(reason), 80)
	}
	words := e.Detail
	if e.RCode != "" && !strings.Contains(words, e.RCode) {
		words = strings.TrimPrefix(words+", "+e.RCode, ", ")
	}
	if words = e.withoutStatus(words); words != "" {
		answer += " (" + words + ")"
	}
	return answer
}

// reason is the status line's, or what the code is called.
func (e *Error) reason() string {
	return cmp.Or(strings.TrimSpace(e.answered().Reason), http.StatusText(e.Status))
}

// withoutStatus takes off the words what the status line says already.
func (e *Error) withoutStatus(words string) string {
	reason := e.reason()
	words = withoutTitle(withoutTitle(words, fmt.Sprintf("%d %s", e.Status, reason)), reason)
	if words = strings.TrimRight(words, ". "); strings.EqualFold(words, e.answered().Reason) {
		return ""
	}
	return words
}

// refusedHint is for a target that the proxy does not allow.
func (e *Error) refusedHint() string {
	port := e.Target.Port()
	switch {
	case e.Status == http.StatusTooManyRequests:
		return "the proxy limits how often: wait a while and try again"
	case e.Status == http.StatusUnavailableForLegalReasons:
		return "the proxy blocks it for legal reasons: ask its administrator which rule that is"
	case page.BarsClient(e.Detail):
		return "ask the proxy's administrator to let this machine in"
	case e.Type == ErrorDestinationProhibited:
		return "ask the proxy's administrator to allow the address that " + e.Target.Host() + " leads to"
	case port == 22:
		return "ask the proxy's administrator to allow port 22, or use an ssh server that listens on 443"
	case port != 80 && port != 443, strings.Contains(strings.ToLower(e.Detail), "port"):
		return fmt.Sprintf("ask the proxy's administrator to allow port %d", port)
	}
	return "ask the proxy's administrator to allow " + e.Target.Host()
}

// unreachedHint is for a target that the proxy tried in vain.
func (e *Error) unreachedHint() string {
	switch e.Type {
	case ErrorDNS:
		return "check the spelling of " + e.Target.Host() + ": the proxy resolves it, not this machine"
	case ErrorDNSTimeout:
		return "the proxy's name server does not answer: try again later, or tell the proxy's administrator"
	case ErrorConnectionRefused:
		return fmt.Sprintf("nothing listens on port %d there, as the proxy sees it: check the port, or whether the server runs", e.Target.Port())
	case ErrorConnectionTimeout, ErrorConnectionReadTimeout:
		if e.Status == http.StatusGatewayTimeout && e.Detail == "" { // some say it of every failure
			return "check the name and the port: the server is down, or a firewall between the proxy and it drops the connection"
		}
		return "the server is down, or a firewall between the proxy and it drops the connection"
	case ErrorConnectionLimit:
		return "the proxy has no tunnel to spare: try again later"
	case ErrorLoop:
		return "the proxy's own way out leads back to it: tell its administrator"
	case ErrorProtocol, ErrorResponseIncomplete, ErrorResponseHeadSize, ErrorInternal, ErrorTLSProtocol, ErrorTLSCertificate:
		return "the proxy's own way out does not work: tell its administrator"
	}
	if e.Status == http.StatusServiceUnavailable && e.Detail != page.ConnectionFailed {
		return "the proxy is overloaded, stopping, or cannot reach " + e.Target.Host() + ": check the name and the port, or try again later"
	}
	if e.Told && e.Type == ErrorDestinationUnavailable {
		return "check that " + e.Target.String() + " exists and is up, as seen from the proxy, or ask its administrator whether its rules allow it"
	}
	return "check that " + e.Target.String() + " exists and is up, as seen from the proxy"
}

const hintPortal = "a login page may stand in the way: open any web page in a browser first"
