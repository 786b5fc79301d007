package args

import (
	"fmt"
	"strings"
)

// width is the width of a page in columns; a terminal has 80.
const width = 78

// Help returns the help of a verb, or of the program for its embedded Verb: examples,
// description, flags.
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

// usage returns the synopsis of a verb.
func (p Program) usage(v Verb) string {
	if v.Name == "" {
		return p.Name + " VERB [FLAG...] [ARGUMENT...]"
	}
	return strings.TrimSpace(p.Name + " " + v.Name + " [FLAG...] " + v.Args)
}

// environmentRule returns the paragraph about environment variables, which saves
// naming one beside every flag.
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

// head returns the flag as it is typed, short names first.
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

// text returns what the help says about the flag.
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

// entry returns an entry of a list in two columns. A long head has a line of its own.
func entry(head, text string) string {
	const column = 26
	text = wrap(text, column)
	if len(head)+4 > column {
		return "  " + head + "\n" + text + "\n"
	}
	return fmt.Sprintf("  %-*s%s\n", column-2, head, strings.TrimLeft(text, " "))
}

// wrap refills the paragraphs of text to width, indented. A line that begins with a
// space keeps its own breaks.
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
