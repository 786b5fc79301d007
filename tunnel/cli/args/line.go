package args

import (
	"fmt"
	"slices"
	"strings"
)

// Line is a command line: the verb, the values of the flags, and the arguments.
// Until Parse it has no verb, and the flags have their defaults.
type Line struct {
	Values
	Verb *Verb    // nil = no verb was named
	Args []string // the arguments of the verb, without the flags

	program Program
}

// NewLine returns an empty line of the program.
func NewLine(p Program) *Line {
	return &Line{Values: Values{tables: [][]Flag{p.Flags}}, program: p}
}

// Parse parses the words. Before the verb there may be the program's flags, and the
// word help, which means --help. After the verb come its flags and its arguments, in
// any order. A mistake is an *Error; the flags before it have been set.
func (l *Line) Parse(words []string) (err error) {
	l.settings, words, err = parseFlags(l.program.Flags, words, true)
	if err != nil {
		return err
	}
	if len(words) > 0 && words[0] == "help" {
		l.Set("help", "true", "help")
		words = words[1:]
	}
	if len(words) == 0 {
		return nil
	}
	verb, ok := l.program.verb(words[0])
	if !ok {
		return Usagef("the verbs are "+l.program.listVerbs()+"; "+l.program.Name+" --help tells what they do", "unknown verb %q", words[0])
	}
	l.Verb, l.tables = &verb, [][]Flag{verb.Flags, l.program.Flags}
	settings, rest, err := parseFlags(verb.Flags, words[1:], false)
	l.settings, l.Args = append(l.settings, settings...), rest
	return err
}

// Environment sets the flags of the verb that are not set yet from environment
// variables, PROGRAM_VERB_NAME. An empty variable counts as unset; the variable of a
// List holds one value per line. A bad value is an *Error. The Line must have a verb.
func (l *Line) Environment(getenv func(string) string) error {
	typed := l.settings
	for _, f := range l.Verb.Flags {
		if f.TypedOnly || last(typed, f.Name).Source != "" {
			continue
		}
		source := l.program.variable(*l.Verb, f.Name)
		values := []string{getenv(source)}
		if f.Kind == List {
			values = strings.Split(values[0], "\n")
		}
		for _, value := range values {
			if value == "" {
				continue
			}
			s, err := f.setting(value, source)
			if err != nil {
				return err
			}
			l.settings = append(l.settings, s)
		}
	}
	return nil
}

// parseFlags takes the flags out of words and returns the other words in order. Flags
// end at "--", which is dropped, or, if verbNext is set, at the first word that is no
// flag. A value is the next word or follows "="; "--" is a value only after "=".
func parseFlags(flags []Flag, words []string, verbNext bool) (settings []Setting, rest []string, err error) {
	for len(words) > 0 {
		word := words[0]
		isFlag := len(word) > 1 && word[0] == '-'
		if !isFlag && verbNext {
			return settings, words, nil
		}
		words = words[1:]
		if word == "--" {
			return settings, append(rest, words...), nil
		}
		if !isFlag {
			rest = append(rest, word)
			continue
		}
		typed, value, hasValue := strings.Cut(word, "=")
		f, ok := named(flags, typed)
		switch {
		case !ok:
			return settings, nil, unknown(flags, typed)
		case hasValue:
		case f.Kind == Switch:
			value = "true"
		case len(words) == 0 || words[0] == "--":
			return settings, nil, &Error{Message: typed + " needs a value", Hint: "write " + typed + " " + f.value()}
		default:
			value, words = words[0], words[1:]
		}
		s, err := f.setting(value, typed)
		if err != nil {
			return settings, nil, err
		}
		settings = append(settings, s)
	}
	return settings, rest, nil
}

// setting returns the Setting of f to a value, which must be of f's kind.
func (f Flag) setting(value, source string) (Setting, error) {
	if _, err := f.parse(value); err != nil {
		return Setting{}, &Error{Message: fmt.Sprintf("%s: bad value %q", source, value), Hint: err.Error()}
	}
	return Setting{f.Name, value, source}, nil
}

// named returns the flag that has the word as one of its typed names.
func named(flags []Flag, word string) (Flag, bool) {
	for _, f := range flags {
		if slices.Contains(f.typedNames(), word) {
			return f, true
		}
	}
	return Flag{}, false
}

// unknown returns the error for an unknown flag. The hint names the flag that was
// probably meant: the number of dashes is wrong, or one name begins with the other.
func unknown(flags []Flag, word string) *Error {
	e := &Error{Message: fmt.Sprintf("unknown flag %s", word), Hint: "--help lists the flags; -- ends them, before an argument that begins with -"}
	name := strings.TrimLeft(word, "-")
	for _, f := range flags {
		for _, n := range f.names() {
			if n == name || len(name) > 2 && len(n) > 2 && (strings.HasPrefix(n, name) || strings.HasPrefix(name, n)) {
				e.Hint = "did you mean " + typed(n) + "?"
				return e
			}
		}
	}
	return e
}
