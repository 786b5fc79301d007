package args

import (
	"fmt"
	"strings"
)

// Man returns the manual page in the macros of man(7).
func (p Program) Man() string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"%s %s\"\n", strings.ToUpper(p.Name), p.Name, roff(p.Version))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n.SH SYNOPSIS\n", p.Name, roff(p.Summary))
	for i, v := range p.Verbs {
		if i > 0 {
			b.WriteString(".br\n")
		}
		b.WriteString(".B " + roff(p.usage(v)) + "\n")
	}
	b.WriteString(".SH DESCRIPTION\n")
	manBody(&b, p.Verb)
	for _, v := range p.Verbs {
		fmt.Fprintf(&b, ".SH %s\n%s: %s\n", strings.ToUpper(v.Name), roff(p.Name+" "+v.Name), roff(v.Summary))
		manBody(&b, v)
		b.WriteString(".PP\n" + roff(p.environmentRule(v)) + "\n")
	}
	return b.String()
}

// manBody writes what the help of a verb says, with the examples after the
// description.
func manBody(b *strings.Builder, v Verb) {
	literal := false
	for _, line := range strings.Split(v.Description, "\n") {
		if keep := strings.HasPrefix(line, " "); keep != literal {
			literal = keep
			b.WriteString(map[bool]string{true: ".nf\n", false: ".fi\n"}[keep])
		}
		if line == "" {
			line = ".PP"
		} else {
			line = roff(line)
		}
		b.WriteString(line + "\n")
	}
	if literal {
		b.WriteString(".fi\n")
	}
	b.WriteString(".PP\n.nf\n.RS 4\n")
	for _, e := range v.Examples {
		b.WriteString(roff(e) + "\n")
	}
	b.WriteString(".RE\n.fi\n")
	for _, f := range v.Flags {
		fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(f.head()), roff(f.text()))
	}
}

// roff escapes text so that no line of it is a request and dashes stay as typed.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "\"", `\(dq`).Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}
