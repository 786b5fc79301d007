package probe

import (
	"fmt"

	"culvert/tunnel/interception"
	"culvert/tunnel/terminal"
)

// interception lists the evidence and the verdict.
func (t *reportText) interception(m *interception.Result) {
	if m == nil {
		return
	}
	t.printf("")
	t.printf("%s %s", t.Bold.Paint("is somebody in the middle?"), t.Faint.Paint("(yes, no: what it speaks for; !: settles it; -: neither)"))
	colour := map[interception.Verdict]terminal.Colour{interception.EndToEnd: t.Good, interception.Intercepted: t.Bad, interception.Unknown: t.Faint}
	for _, e := range m.Evidence {
		mark := map[interception.Verdict]string{interception.EndToEnd: "no", interception.Intercepted: "yes", interception.Unknown: "-"}[e.Says]
		if e.Decisive {
			mark += "!"
		}
		t.printfHanging(hangFinding, "  %s  %s", colour[e.Says].Paint(fmt.Sprintf("%-4s", mark)), e.Text)
	}
	words := string(m.Verdict)
	if m.By != "" {
		words += " by " + m.By
	}
	colour[interception.Unknown] = t.Warn
	t.printf("  so: %s", colour[m.Verdict].Paint(words))
}
