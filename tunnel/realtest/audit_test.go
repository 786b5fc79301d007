//go:build unix

package realtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"culvert/tunnel/audit"
)

// auditedProxies are the real proxies whose grades are held in testdata/audits:
// of the table of refusals those that speak HTTP of their own, and serve over TLS.
// With -login they want ada's password, and only what that changes is tried.
var auditedProxies = []string{"serve", "serve-tls", "squid", "tinyproxy", "apache", "privoxy", "ncat", "trafficserver", "nghttpx",
	"serve-login", "squid-login", "tinyproxy-login", "apache-login", "ncat-login", "nghttpx-login"}

// unheld are the checks whose grade is a matter of time, or of the machine's
// names and IPv6; behind a proxy's name, its own. Privoxy, which waits for one
// side while it writes to the other, mostly gets stuck where both send much. squid
// takes no port for 443, where another test may listen.
var unheld = []string{"target-no-port", "target-empty-port", "refusal-prompt", "tunnel-small", "refusal-readable", "plain-trailers", "connect-ipv6", "connect-root-dot", "refusal-unknown-name", "privoxy tunnel-both"}

// What the audit says of real proxies. CULVERT_UPDATE=1 writes it anew.
func TestRealAudits(t *testing.T) {
	t.Parallel()
	for _, name := range auditedProxies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target := freePort(t)
			arg := []string{"probe", "--audit", "--json", "--patience", "2s", "--target-listen", "127.0.0.1:" + target}
			switch kind, asks := strings.CutSuffix(name, "-login"); {
			case asks:
				arg = append(arg, "--check", "refusal,plain-credentials,h2-407", "--proxy", "http://ada:lovelace@"+refusingProxies[kind].start(t, rules{open: target, asks: true}))
			case name == "serve-tls":
				arg = append(arg, "--insecure", "--proxy", "https://"+startAuditedTLS(t, target))
			default:
				arg = append(arg, "--proxy", "http://"+refusingProxies[name].start(t, rules{open: target}))
			}
			stdout, stderr, code := runProgram(t, nil, culvert(t), arg...)
			report, err := audit.ReadReport(strings.NewReader(stdout))
			if err != nil || stderr != "" || (code == 11) != report.Failed() {
				t.Fatalf("exit %d, %v: %s", code, err, stderr)
			}
			if strings.HasPrefix(name, "serve") && (report.Summary[0].Fail+report.Summary[0].Warn+report.Summary[1].Fail+report.Summary[1].Warn) > 0 {
				t.Error("serve does not pass every MUST and SHOULD")
			}
			wantGrades(t, name, report)
		})
	}
}

func startAuditedTLS(t *testing.T, port string) string {
	address := "127.0.0.1:" + freePort(t)
	background(t, culvert(t), "serve", "--listen", "https://"+address, "--tls-self-signed", "--allow", "*:"+port)
	accepts(t, address)
	return address
}

// wantGrades compares with the golden, a check a line, and shows what a check
// rests on that differs.
func wantGrades(t *testing.T, name string, report *audit.Report) {
	var got bytes.Buffer
	evidence := map[string]string{}
	for _, r := range report.Results {
		if !slices.Contains(unheld, r.ID) && !slices.Contains(unheld, name+" "+r.ID) {
			l := fmt.Sprintf("%s %s", r.Grade, r.ID)
			fmt.Fprintln(&got, l)
			shown, _ := json.Marshal(r)
			evidence[l] = string(shown)
		}
	}
	file := filepath.Join("testdata", "audits", name+".txt")
	if os.Getenv("CULVERT_UPDATE") == "1" {
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	wanted := strings.Split(string(want), "\n")
	for l := range strings.SplitSeq(got.String(), "\n") {
		if !slices.Contains(wanted, l) {
			t.Errorf("%s: not so in %s: %s", l, file, evidence[l])
		}
	}
	if n := strings.Count(got.String(), "\n"); n != len(wanted)-1 {
		t.Errorf("%d checks, want %d", n, len(wanted)-1)
	}
}
