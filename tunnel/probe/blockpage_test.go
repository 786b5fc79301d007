package probe

import (
	"fmt"
	"strings"
	"testing"

	"culvert/tunnel/internal/testkit"
)

// Filters send block pages with any status, and portals send login pages.
func TestVerdictOnBlockPages(t *testing.T) {
	page := func(title, text string) string {
		return "<html><head><title>" + title + "</title></head><body><h1>" + title + "</h1><p>" + text + "</p></body></html>"
	}
	const policy = "Access to the web page you were trying to visit has been blocked in accordance with company policy."
	const wifi = `<html><title>Guest WiFi Login</title><form method=post><input name=user><input type="password" name=p></form>`
	for _, tt := range []struct {
		name   string
		status int
		page   string
		kind   VerdictKind
		exit   int
		words  string // in the verdict
	}{
		{"Palo Alto", 503, page("Web Page Blocked", policy), VerdictDenied, 6, "503 Service Unavailable"},
		{"Palo Alto, heading alone", 503, page("Web Page Blocked", "Contact us."), VerdictDenied, 6, "Contact us"},
		{"Palo Alto by 200", 200, page("Web Page Blocked", policy), VerdictDenied, 6, "denied by policy (2xx, but a block page instead of a tunnel: Web Page Blocked)"},
		{"FortiGuard", 200, page("Web Page Blocked!", "You have tried to access a web page which is in violation of your Internet usage policy."), VerdictDenied, 6, "Web Page Blocked!"},
		{"FortiGuard by 502", 502, page("FortiGuard Intrusion Prevention", "Access Blocked"), VerdictDenied, 6, ""},
		{"Zscaler", 200, page("Internet Security by Zscaler", "Sorry, you do not have permission to visit this site."), VerdictDenied, 6, ""},
		{"McAfee", 500, page("McAfee Web Gateway - Notification", "The requested URL is blocked."), VerdictDenied, 6, ""},
		{"Sophos", 400, page("Sophos", "This website is blocked."), VerdictDenied, 6, ""},
		{"Blue Coat", 503, page("Access Denied", "Access Denied (policy_denied)"), VerdictDenied, 6, ""},
		{"Blue Coat, no name server", 503, page("Network Error", "Network Error (dns_server_failure)"), VerdictTargetUnreachable, 7, "its name server failed"},
		{"Blue Coat, no name", 404, page("Network Error", "Network Error (dns_unresolved_hostname)"), VerdictTargetUnreachable, 7, "the name cannot be resolved"},
		{"Blue Coat, refused", 500, page("Network Error", "Network Error (tcp_error): \"Connection refused\""), VerdictTargetUnreachable, 7, "connection refused"},
		{"Blue Coat, silent", 503, page("Network Error", "Network Error (tcp_error): \"Operation timed out\""), VerdictTargetUnreachable, 7, "timed out"},
		{"Blue Coat, other", 503, page("Network Error", "Network Error (tcp_error)"), VerdictTargetUnreachable, 7, "the connection failed"},
		{"login", 200, wifi, VerdictCaptivePortal, 6, "captive portal? (2xx, but a login page instead of a tunnel: Guest WiFi Login)"},

		{"Zscaler fails", 502, page("Zscaler", "The server could not be reached."), VerdictTargetUnreachable, 7, ""},
		{"nginx fails", 502, page("502 Bad Gateway", "nginx"), VerdictTargetUnreachable, 7, ""},
		{"a firewall is blamed", 504, page("Error", "The request may be blocked by a firewall."), VerdictTargetUnreachable, 7, ""},
		{"a web server's page", 200, page("Welcome to nginx!", "It works."), VerdictNotAProxy, 8, ""},
		{"an article", 200, page("News", "Why a web page blocked nobody"), VerdictNotAProxy, 8, ""},
		{"a form", 200, "<html><title>Search</title><form><input type=text name=password></form>", VerdictNotAProxy, 8, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			reply := fmt.Sprintf("HTTP/1.1 %d \r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s", tt.status, len(tt.page), tt.page)
			v := probeScript(t, testkit.BriefWait, testkit.HangUp(reply)...).Verdict
			if v.Kind != tt.kind || v.ExitCode != tt.exit || !strings.Contains(v.Words, tt.words) || v.Hint == "" {
				t.Errorf("%+v, want %s %d %q", v, tt.kind, tt.exit, tt.words)
			}
		})
	}
}
