package args

import "strings"

// Verb describes one of a program's verbs.
type Verb struct {
	Name        string   // "" for the program itself
	Summary     string   // one line, in lower case
	Args        string   // the form of its arguments, as HOST:PORT
	Examples    []string // lines to copy
	Description string   // paragraphs, separated by empty lines
	Flags       []Flag   // in the order of the help
}

// Program describes a command with verbs. Its embedded Verb describes the program
// itself, with the flags that stand before a verb.
type Program struct {
	Name, Version string
	Verb
	Verbs []Verb
}

// verb returns the verb of that name.
func (p Program) verb(name string) (Verb, bool) {
	for _, v := range p.Verbs {
		if v.Name == name {
			return v, true
		}
	}
	return Verb{}, false
}

func (p Program) verbNames() []string {
	var names []string
	for _, v := range p.Verbs {
		names = append(names, v.Name)
	}
	return names
}

// listVerbs returns the names in the form "serve, dial and probe".
func (p Program) listVerbs() string {
	names := p.verbNames()
	last := len(names) - 1
	if last < 1 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

// variable returns the name of a flag's environment variable: PROGRAM_VERB_NAME, with
// "_" for "-".
func (p Program) variable(v Verb, name string) string {
	return strings.ToUpper(strings.ReplaceAll(p.Name+"_"+v.Name+"_"+name, "-", "_"))
}
