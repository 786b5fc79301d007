package args

import "strings"

// Verb is one of a program's verbs: its flags, and what is said of it.
type Verb struct {
	Name        string   // "" for the program itself
	Summary     string   // one line, lower case
	Args        string   // as HOST:PORT
	Examples    []string // lines to copy
	Description string   // paragraphs between empty lines
	Flags       []Flag   // in the order of the help
}

// Program is a command with verbs. Its own Verb holds the flags that stand before
// one, and what is said of the program.
type Program struct {
	Name, Version string
	Verb
	Verbs []Verb
}

// verb finds a verb by its name.
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

// listVerbs is "serve, dial and probe".
func (p Program) listVerbs() string {
	names := p.verbNames()
	last := len(names) - 1
	if last < 1 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

// variable is the environment variable of a flag: PROGRAM_VERB_NAME, with "_"
// for "-".
func (p Program) variable(v Verb, name string) string {
	return strings.ToUpper(strings.ReplaceAll(p.Name+"_"+v.Name+"_"+name, "-", "_"))
}
