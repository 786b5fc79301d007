package args

import (
	"fmt"
	"slices"
	"strings"
)

// Line is a command line: the verb, the values of the flags, and the arguments.
// It is empty until Parse, but for the defaults.
type Line struct {
	Values
	Verb *Verb    // nil = none was named
	Args []string // of the verb, without the flags

	program Program
}

// NewLine returns an empty line of the program.
func NewLine(p Program) *Line {
	return &Line{Values: Values{tables: [][]Flag{p.Flags}}, program: p}
}

// Parse takes the words apart. Before the verb stand the program's flags, or the
// word help, which means --help; behind it the verb's flags, anywhere, and its
// arguments. A mistake is an *Error; what stands before it has been taken.
func (l *Line) Parse(words []string) (err error) {
	l.settings, words, err = take(l.program.Flags, words, true)
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
	settings, rest, err := take(verb.Flags, words[1:], false)
	l.settings, l.Args = append(l.settings, settings...), rest
	return err
}

// Environment sets the flags of the verb that are not set yet from its variables,
// PROGRAM_VERB_NAME. An empty variable is no variable; that of a List holds one
// value per line.
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

// take takes the flags out of words and returns the others in order. Flags end
// at "--", which is dropped, or, if verbNext, at the first other word. A value
// is the next word or follows "="; "--" is a value only in the latter form.
func take(flags []Flag, words []string, verbNext bool) (settings []Setting, rest []string, err error) {
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

// setting checks a value before anybody acts on it.
func (f Flag) setting(value, source string) (Setting, error) {
	if _, err := f.parse(value); err != nil {
		return Setting{}, &Error{Message: fmt.Sprintf("%s: bad value %q", source, value), Hint: err.Error()}
	}
	return Setting{f.Name, value, source}, nil
}

// named finds a flag by one of its names as it is typed.
func named(flags []Flag, word string) (Flag, bool) {
	for _, f := range flags {
		if slices.Contains(f.typedNames(), word) {
			return f, true
		}
	}
	return Flag{}, false
}

// unknown hints at the flag that was probably meant: one dash for two, or two
// names that begin alike.
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
