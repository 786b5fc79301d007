package args

import (
	"fmt"
	"strings"
)

// width is what a page keeps to, for a terminal of 80 columns.
const width = 78

// Help returns the page of one verb, or of the program for the Verb it
// embeds: examples first, then what they mean, then every flag.
func (p Program) Help(v Verb) string {
	var b strings.Builder
	for _, e := range v.Examples {
		b.WriteString("    " + e + "\n")
	}
	name := strings.TrimSpace(p.Name + " " + v.Name)
	fmt.Fprintf(&b, "\n%s\n", wrap(name+": "+v.Summary, 0))
	fmt.Fprintf(&b, "\nusage: %s\n", p.usage(v))
	if v.Name == "" {
		b.WriteString("\nverbs:\n")
		for _, other := range p.Verbs {
			b.WriteString(entry(other.Name, other.Summary))
		}
	}
	if v.Description != "" {
		b.WriteString("\n" + wrap(v.Description, 0) + "\n")
	}
	b.WriteString("\nflags:\n")
	for _, f := range v.Flags {
		b.WriteString(entry(f.head(), f.text()))
	}
	if v.Name != "" {
		b.WriteString("\n" + wrap(p.environmentRule(v), 0) + "\n")
	}
	return b.String()
}

func (p Program) usage(v Verb) string {
	if v.Name == "" {
		return p.Name + " VERB [FLAG...] [ARGUMENT...]"
	}
	return strings.TrimSpace(p.Name + " " + v.Name + " [FLAG...] " + v.Args)
}

// environmentRule says once what would otherwise stand beside every flag.
func (p Program) environmentRule(v Verb) string {
	var not []string
	example := ""
	for _, f := range v.Flags {
		if f.TypedOnly {
			not = append(not, typed(f.Name))
		} else if example == "" {
			example = fmt.Sprintf(" (%s for %s)", p.variable(v, f.Name), typed(f.Name))
		}
	}
	rule := "Each flag can be set in the environment as " + p.variable(v, "NAME") + example +
		", a repeatable one with a value per line; a flag that is typed wins."
	if not != nil {
		rule += " Not so: " + strings.Join(not, ", ") + "."
	}
	return rule
}

// head is the flag as it is typed: short names first.
func (f Flag) head() string {
	var short, long []string
	for _, n := range f.names() {
		if len(n) == 1 {
			short = append(short, typed(n))
		} else {
			long = append(long, typed(n))
		}
	}
	return strings.TrimSpace(strings.Join(append(short, long...), ", ") + " " + f.value())
}

func (f Flag) text() string {
	text := f.usage()
	if f.Kind == List {
		text += "; repeatable"
	}
	if f.shownDefault() != "" {
		text += " (default " + f.shownDefault() + ")"
	}
	return text
}

// entry is a line of a list in two columns; a long head stands alone.
func entry(head, text string) string {
	const column = 26
	text = wrap(text, column)
	if len(head)+4 > column {
		return "  " + head + "\n" + text + "\n"
	}
	return fmt.Sprintf("  %-*s%s\n", column-2, head, strings.TrimLeft(text, " "))
}

// wrap fills the paragraphs of text, indented: lines are joined and broken
// anew between words. A line that begins with a space is kept as it is.
func wrap(text string, indent int) string {
	pad := strings.Repeat(" ", indent)
	var lines []string
	current := ""
	end := func() {
		if current != "" {
			lines = append(lines, pad+current)
		}
		current = ""
	}
	for _, line := range strings.Split(text, "\n") {
		if line == "" || line[0] == ' ' {
			end()
			lines = append(lines, strings.TrimRight(pad+line, " "))
			continue
		}
		for _, word := range strings.Fields(line) {
			if current != "" && len(pad)+len(current)+1+len(word) > width {
				end()
			}
			current = strings.TrimLeft(current+" "+word, " ")
		}
	}
	end()
	return strings.Join(lines, "\n")
}
