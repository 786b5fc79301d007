//go:build unix

package realtest

import (
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
			arg := []string{"--target-listen", "127.0.0.1:" + target}
			switch kind, asks := strings.CutSuffix(name, "-login"); {
			case asks:
				arg = append(arg, "--check", "refusal,plain-credentials,h2-407", "--proxy", "http://"+user+"@"+refusingProxies[kind].start(t, rules{open: target, asks: true}))
			case name == "serve-tls":
				arg = append(arg, "--insecure", "--proxy", "https://"+startAuditedTLS(t, target))
			default:
				arg = append(arg, "--proxy", "http://"+refusingProxies[name].start(t, rules{open: target}))
			}
			a := newAudit(t, arg...)
			wantGrades(t, name, a)
			if !strings.HasPrefix(name, "serve") {
				return
			}
			for id, r := range a.results {
				if flawed := r.Grade == "warn" || r.Grade == "fail"; flawed && r.Level != "policy" {
					t.Errorf("serve does not pass every MUST and SHOULD: %s", id)
				}
			}
		})
	}
}

// realAudit is what probe --audit says of a proxy.
type realAudit struct {
	arg     []string // of the command line
	order   []string // the checks' IDs
	results map[string]audit.Result
}

func newAudit(t *testing.T, arg ...string) *realAudit {
	t.Helper()
	a := &realAudit{arg: arg, results: map[string]audit.Result{}}
	a.run(t, "--patience", "2s")
	return a
}

// again has checks be made once more, patiently: on a busy machine an answer may
// be late.
func (a *realAudit) again(t *testing.T, ids []string) {
	t.Helper()
	if len(ids) > 0 {
		a.run(t, "--patience", "10s", "--check", strings.Join(ids, ","))
	}
}

func (a *realAudit) run(t *testing.T, arg ...string) {
	t.Helper()
	stdout, stderr, code := runProgram(t, nil, culvert(t), append(append([]string{"probe", "--audit", "--json"}, a.arg...), arg...)...)
	report, err := audit.ReadReport(strings.NewReader(stdout))
	if err != nil || stderr != "" || (code == 11) != report.Failed() {
		t.Fatalf("exit %d, %v: %s", code, err, stderr)
	}
	if strings.Contains(stdout, "lovelace") || strings.Contains(stdout, "response=") {
		t.Error("the report tells what the login goes by")
	}
	for _, r := range report.Results {
		if _, known := a.results[r.ID]; !known {
			a.order = append(a.order, r.ID)
		}
		a.results[r.ID] = r
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
func wantGrades(t *testing.T, name string, a *realAudit) {
	t.Helper()
	file := filepath.Join("testdata", "audits", name+".txt")
	line := func(id string) string { return fmt.Sprintf("%s %s", a.results[id].Grade, id) }
	held := slices.DeleteFunc(slices.Clone(a.order), func(id string) bool {
		return slices.Contains(unheld, id) || slices.Contains(unheld, name+" "+id)
	})
	if os.Getenv("CULVERT_UPDATE") == "1" {
		text := ""
		for _, id := range held {
			text += line(id) + "\n"
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := strings.Split(strings.TrimSuffix(contents(file), "\n"), "\n")
	differs := func(id string) bool { return !slices.Contains(want, line(id)) }
	a.again(t, slices.DeleteFunc(slices.Clone(held), func(id string) bool { return !differs(id) }))
	for _, id := range held {
		if differs(id) {
			shown, _ := json.Marshal(a.results[id])
			t.Errorf("%s: not so in %s: %s", line(id), file, shown)
		}
	}
	if len(held) != len(want) {
		t.Errorf("%d checks, want %d", len(held), len(want))
	}
}
