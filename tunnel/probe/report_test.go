package probe

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/internal/clienttest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/terminal"
	"culvert/tunnel/tunneltest"

	"github.com/rogpeppe/go-internal/txtar"
)

// TestReportGoldens probes a proxy that sends the file "reply" of each archive,
// unescaped and without its line ends, and compares the report with the archive's:
// the text and, if the archive has it, the JSON. UPDATE_GOLDEN=1 rewrites them.
func TestReportGoldens(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "probe", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatal("no archives", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text, doc := goldenReport(t, string(archiveFile(archive, "reply")))
			if os.Getenv("UPDATE_GOLDEN") == "1" {
				setArchiveFile(archive, "text", text)
				setArchiveFile(archive, "json", doc)
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want := string(archiveFile(archive, "text")); text != want {
				t.Errorf("text:\n%s\nwant:\n%s", text, want)
			}
			if want := string(archiveFile(archive, "json")); want != "" && doc != want {
				t.Errorf("json:\n%s\nwant:\n%s", doc, want)
			}
		})
	}
}

// goldenReport returns a probe's report with fixed times and ports.
func goldenReport(t *testing.T, escaped string) (text, doc string) {
	t.Helper()
	var reply tunnel.WireBytes
	if err := reply.UnmarshalText([]byte(strings.ReplaceAll(escaped, "\n", ""))); err != nil {
		t.Fatal(err)
	}
	proxy := tunneltest.StartProxy(t, testkit.HangUp(string(reply))...)
	p := &Prober{Client: clienttest.Proxied(t, "http://user:secret password@"+proxy.Addr()), Wait: testkit.LongWait, Why: "from --proxy"}
	p.Client.UserAgent, p.Client.Auth = "culvert/0", client.AuthBasic
	r := probeAt(t, p)
	r.Started = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i := range r.Attempts {
		r.Attempts[i].At, r.Attempts[i].Duration = 100, 400
	}
	for i := range r.Timeline {
		r.Timeline[i].At, r.Timeline[i].Duration = Micros(i*500), 500
	}
	for i := range r.Exchanges { // they depend on the kernel; TestSegments has them
		r.Exchanges[i].Segments = nil
	}
	var b strings.Builder
	if err := r.WriteText(&b, terminal.Style{}); err != nil {
		t.Fatal(err)
	}
	text = steady(b.String(), proxy.Addr())
	b.Reset()
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	return text, steady(b.String(), proxy.Addr())
}

// gluedCount matches what depends on how the kernel cut the reply into segments.
var gluedCount = regexp.MustCompile(`\(\d+ together with the reply\)|"glued_bytes": \d+|\d+ came together with the reply|none came together with the reply`)

func steady(s, addr string) string {
	return gluedCount.ReplaceAllString(strings.ReplaceAll(s, addr, "127.0.0.1:3128"), "GLUED")
}

func archiveFile(a *txtar.Archive, name string) []byte {
	for _, f := range a.Files {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}

func setArchiveFile(a *txtar.Archive, name, text string) {
	for i, f := range a.Files {
		if f.Name == name {
			a.Files[i].Data = []byte(text)
		}
	}
}

// Colours surround words, and removing them gives the plain text.
func TestReportWithStyle(t *testing.T) {
	r := probeScript(t, testkit.LongWait, testkit.HangUp(reply403+"A: b\n\r\n")...)
	mark := func(name string) func(string) string {
		return func(s string) string { return "<" + name + ">" + s + "</" + name + ">" }
	}
	style := terminal.Style{Talk: mark("t"), Sent: mark("s"), Received: mark("r"), Good: mark("g"), Warn: mark("w"), Bad: mark("b"), Faint: mark("f"), Bold: mark("B")}
	var plain, dressed strings.Builder
	if r.WriteText(&plain, terminal.Style{}) != nil || r.WriteText(&dressed, style) != nil {
		t.Fatal("write to memory failed")
	}
	for _, want := range []string{"<s>> CONNECT", "<r>< HTTP/1.1 403", "<b>fail</b>", "<w>warn</w>", "<g>pass</g>", "<B>verdict:</B> <b>denied by policy"} {
		if !strings.Contains(dressed.String(), want) {
			t.Errorf("no %q in\n%s", want, dressed.String())
		}
	}
	if got := regexp.MustCompile(`</?[tsrgwbfB]>`).ReplaceAllString(dressed.String(), ""); trimLines(got) != plain.String() {
		t.Errorf("undressed:\n%s\nplain:\n%s", got, plain.String())
	}
}

// On a terminal, culvert's own lines are folded at words. Bytes of the wire are
// not, and elsewhere nothing is.
func TestReportFits(t *testing.T) {
	r := probeScript(t, testkit.LongWait, testkit.HangUp(reply403+"A: b\n\r\n")...)
	r.Findings[0].Evidence, r.Findings[0].Grade = strings.Repeat("some evidence ", 30)+"end", Fail
	var plain, piped strings.Builder
	r.WriteText(&plain, terminal.Style{})
	r.WriteText(&piped, terminal.Style{Width: 40})
	if lines := strings.Split(piped.String(), "\n"); !slices.ContainsFunc(lines, func(l string) bool { return len(l) > 400 }) {
		t.Errorf("broken without a terminal:\n%s", &piped)
	}
	bold := func(s string) string { return "\x1b[1m" + s + "\x1b[22m" }
	for _, width := range []int{40, 60, 80, 120} {
		var text strings.Builder
		r.WriteText(&text, terminal.Style{Width: width, Wrap: true, Faint: bold, Bad: bold})
		bare := strings.NewReplacer("\x1b[1m", "", "\x1b[22m", "", "\x1b[0m", "").Replace(text.String())
		for line := range strings.Lines(bare) {
			if line = strings.TrimSuffix(line, "\n"); line != "" && line[0] == '*' && len(line) > width {
				t.Errorf("%d columns at %d: %q", len(line), width, line)
			}
		}
		words := func(s string) string {
			return strings.Join(strings.Fields(strings.ReplaceAll(strings.ReplaceAll(s, "\n* ", "\n"), "\n*", "\n")), " ")
		}
		before, _, _ := strings.Cut(words(plain.String()), " timeline ")
		_, behind, _ := strings.Cut(words(plain.String()), "no tunnel after")
		if !strings.Contains(words(bare), before) || !strings.Contains(words(bare), behind) {
			t.Errorf("words are lost at %d:\n%s", width, &text)
		}
	}
}

// For a hop that was asked again, the earlier requests list only what is wrong;
// JSON has everything.
func TestReportOfRoundsIsBrief(t *testing.T) {
	r := &Report{Plan: Plan{Hops: []string{"http://p:1", "http://q:1"}}, Exchanges: []Exchange{{Hop: "p:1"}, {Hop: "p:1"}, {Hop: "q:1"}}}
	for i := range r.Exchanges {
		for _, grade := range []Grade{Pass, Pass, Warn, Fail, Skip} {
			r.Findings = append(r.Findings, Finding{Exchange: i, Grade: grade, ID: fmt.Sprintf("%s-%d", grade, i), Evidence: "why"})
		}
	}
	text := &reportText{}
	text.findings(r)
	for want, times := range map[string]int{
		"pass-0": 0, "warn-0": 1, "fail-0": 1, "skip-0": 0, "pass  2 checks, which --json lists\n": 1,
		"pass-1": 2, "warn-1": 1, "fail-1": 1, "skip-1": 1, "pass-2": 2, "skip-2": 1,
	} {
		if got := strings.Count(text.out.String(), want); got != times {
			t.Errorf("%q %d times, want %d, in\n%s", want, got, times, &text.out)
		}
	}
}

func trimLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

func TestReportShowsBoundedLines(t *testing.T) {
	r := probeScript(t, testkit.LongWait, testkit.HangUp(reply200+strings.Repeat("A: b\r\n", 500)+"C: "+strings.Repeat("d", 5000)+"\r\n\r\n")...)
	var text strings.Builder
	if err := r.WriteText(&text, terminal.Style{}); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(text.String(), "\n< "); n != maxLinesShown || !strings.Contains(text.String(), "further bytes are not shown here") {
		t.Errorf("%d lines of the reply are shown, and\n%s", n, text.String()[max(0, text.Len()-3000):])
	}
	if len(r.Exchanges[0].Reply) < 8000 {
		t.Errorf("JSON has only %d bytes", len(r.Exchanges[0].Reply))
	}
}
