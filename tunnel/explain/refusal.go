package explain

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/internal/page"
	"culvert/tunnel/internal/wire"
)

// refused explains a proxy's final reply that opened no tunnel. The Error's Type
// decides, since a Proxy-Status field may have set it, not the status alone.
func (x explanation) refused() (sentence, hint string) {
	target, answer := x.Target.String(), x.answerWords()
	switch x.ExitCode() {
	case tunnel.ExitCredentials:
		return x.credentials()
	case tunnel.ExitRefused:
		switch {
		case x.answer.Portal && x.Status/100 == 3:
			return x.proxy() + " answered " + target + " with a redirect: " + answer, PortalHint
		case x.answer.Portal:
			return x.proxy() + " refused " + target + ": " + answer, PortalHint
		}
		return x.proxy() + " refused " + target + ": " + answer, x.refusedHint()
	case tunnel.ExitTarget:
		return x.proxy() + " could not reach " + target + ": " + answer, x.unreachedHint()
	}
	if x.Reported {
		return x.proxy() + " cannot open " + target + ": " + answer, "give the target by its name and leave that to the proxy, with socks5h:// or socks4a://"
	}
	switch x.Status {
	case http.StatusInternalServerError:
		return x.proxy() + " failed on " + target + ": " + answer, "tell the proxy's administrator, or try again later"
	case http.StatusPaymentRequired:
		return x.proxy() + " refused " + target + ": " + answer, "a quota may be used up, or a payment be due: ask who runs the proxy"
	}
	return x.proxy() + " did not understand CONNECT for " + target + ": " + answer,
		x.misunderstoodHint() + "check " + x.setting("the proxy's host and port")
}

// misunderstoodHint says what may have answered CONNECT with that status.
func (x explanation) misunderstoodHint() string {
	switch x.Status {
	case http.StatusMisdirectedRequest: // RFC 9110, section 15.5.20
		return "it answers for certain names only, and is no proxy under this one: "
	case http.StatusSwitchingProtocols:
		return "it changes to a protocol that nobody asked for, and is no proxy: "
	}
	return "it may be a web server, not a proxy, or want TLS, for which use https://: "
}

// withoutTitle removes the title from the start of a page's words. It only repeats
// the status line.
func withoutTitle(words, title string) string {
	if len(title) == 0 || len(words) <= len(title) || !strings.EqualFold(words[:len(title)], title) {
		return words
	}
	rest := strings.TrimLeft(words[len(title):], " :.")
	if len(rest) == len(words)-len(title) { // title ended within a longer word
		return words
	}
	return rest
}

// answerWords is the proxy's status line in brief, followed by its own words.
func (x explanation) answerWords() string {
	if x.Reported {
		return x.Cause()
	}
	answer, words := x.statusLine(), x.Detail
	if x.RCode != "" && !strings.Contains(words, x.RCode) {
		words = strings.TrimPrefix(words+", "+x.RCode, ", ")
	}
	if words = x.withoutStatus(words); words != "" {
		answer += " (" + words + ")"
	}
	return answer
}

// Answer returns a proxy's status line in brief, and the proxy's own words without
// what the status line says already. Both are escaped.
func Answer(e *tunnel.Error) (status, words string) {
	x := explanationOf(e)
	return x.statusLine(), x.withoutStatus(x.Detail)
}

// statusLine is the status and its reason.
func (x explanation) statusLine() string {
	line := fmt.Sprint(x.Status)
	if reason := x.reason(); reason != "" {
		line += " " + wire.Escape([]byte(reason), 80)
	}
	return line
}

// reason is that of the status line, or the standard one of the status.
func (x explanation) reason() string {
	return cmp.Or(strings.TrimSpace(x.answer.Reason), http.StatusText(x.Status))
}

// withoutStatus removes from words what the status line says already.
func (x explanation) withoutStatus(words string) string {
	reason := x.reason()
	words = withoutTitle(withoutTitle(words, fmt.Sprintf("%d %s", x.Status, reason)), reason)
	if words = strings.TrimRight(words, ". "); strings.EqualFold(words, x.answer.Reason) {
		return ""
	}
	return words
}

// refusedHint is the hint for a target that the proxy does not allow.
func (x explanation) refusedHint() string {
	switch {
	case x.Status == http.StatusTooManyRequests:
		return "the proxy limits how often: wait a while and try again"
	case x.Status == http.StatusUnavailableForLegalReasons:
		return "the proxy blocks it for legal reasons: ask its administrator which rule that is"
	case page.BarsClient(x.Detail):
		return "ask the proxy's administrator to let this machine in"
	case x.Type == tunnel.ErrorDestinationProhibited:
		return "ask the proxy's administrator to allow the address that " + x.Target.Host() + " leads to"
	}
	return AllowHint(x.Target, strings.Contains(strings.ToLower(x.Detail), "port"))
}

// AllowHint is the hint for a target that a policy forbids. It names the port, if
// the port is known to be the reason or is neither 80 nor 443, and otherwise the
// host.
func AllowHint(target tunnel.Authority, portForbidden bool) string {
	switch port := target.Port(); {
	case port == 22:
		return "ask the proxy's administrator to allow port 22, or use an ssh server that listens on 443"
	case port != 80 && port != 443, portForbidden:
		return fmt.Sprintf("ask the proxy's administrator to allow port %d", port)
	}
	return "ask the proxy's administrator to allow " + target.Host()
}

// unreachedHint is the hint for a target that the proxy could not reach.
func (x explanation) unreachedHint() string {
	switch x.Type {
	case tunnel.ErrorDNS:
		return "check the spelling of " + x.Target.Host() + ": the proxy resolves it, not this machine"
	case tunnel.ErrorDNSTimeout:
		return "the proxy's name server does not answer: try again later, or tell the proxy's administrator"
	case tunnel.ErrorConnectionRefused:
		return fmt.Sprintf("nothing listens on port %d there, as the proxy sees it: check the port, or whether the server runs", x.Target.Port())
	case tunnel.ErrorConnectionTimeout, tunnel.ErrorConnectionReadTimeout:
		if x.Status == http.StatusGatewayTimeout && x.Detail == "" { // some proxies say it of every failure
			return "check the name and the port: the server is down, or a firewall between the proxy and it drops the connection"
		}
		return "the server is down, or a firewall between the proxy and it drops the connection"
	case tunnel.ErrorConnectionLimit:
		return "the proxy has no tunnel to spare: try again later"
	case tunnel.ErrorLoop:
		return "the proxy's own way out leads back to it: tell its administrator"
	case tunnel.ErrorProtocol, tunnel.ErrorResponseIncomplete, tunnel.ErrorResponseHeadSize, tunnel.ErrorInternal, tunnel.ErrorTLSProtocol, tunnel.ErrorTLSCertificate:
		return "the proxy's own way out does not work: tell its administrator"
	}
	if x.Status == http.StatusServiceUnavailable && x.Detail != page.ConnectionFailed {
		return "the proxy is overloaded, stopping, or cannot reach " + x.Target.Host() + ": check the name and the port, or try again later"
	}
	if x.Reported && x.Type == tunnel.ErrorDestinationUnavailable {
		return "check that " + x.Target.String() + " exists and is up, as seen from the proxy, or ask its administrator whether its rules allow it"
	}
	return "check that " + x.Target.String() + " exists and is up, as seen from the proxy"
}

// PortalHint is the hint for a reply that leads to a login page.
const PortalHint = "a login page may stand in the way: open any web page in a browser first"
