// Package args is the mechanism of a command line that knows nothing of
// what the words are about: flags that may stand anywhere, the environment,
// and the pages made from the flags (help, manual, completion).
package args

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Flag is one flag as it is parsed and shown.
type Flag struct {
	Names   []string // the name that counts, then its aliases; without dashes
	Value   string   // what the value is called, as FILE; the choices, as a|b; "" = a switch
	Usage   string   // one sentence, lower case, no full stop
	Default string   // shown; "" = nothing to show
	Repeat  bool     // may be given several times, every value counts
	Env     bool     // may come from the environment
	// Check says why a value is not of the flag's type; nil = every value is.
	Check func(value string) error
}

// Setting is one flag set once. Source is what was typed, as "-x", or the
// variable that says so.
type Setting struct {
	Name, Value, Source string
}

// Error is a line that cannot be meant, and what to do about it.
type Error struct {
	Message, Hint string
	ExitCode      int // 0 = that of usage errors
}

// Error returns the message alone, on one line.
func (e *Error) Error() string { return e.Message }

// Usagef makes an *Error.
func Usagef(hint, format string, a ...any) error {
	return &Error{Message: fmt.Sprintf(format, a...), Hint: hint}
}

// Find returns the last setting of a flag, the zero Setting if there is none.
func Find(settings []Setting, name string) (last Setting) {
	for _, s := range settings {
		if s.Name == name {
			last = s
		}
	}
	return last
}

// Take takes the flags out of words and returns the others in order. Flags end
// at "--", which is dropped, or, if verbNext, at the first other word. A value
// is the next word or follows "="; "--" is a value only in the latter form.
func Take(flags []Flag, words []string, verbNext bool) (settings []Setting, rest []string, err error) {
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
		f, ok := lookup(flags, typed)
		switch {
		case !ok:
			return settings, nil, unknown(flags, typed)
		case hasValue:
		case f.Value == "":
			value = "true"
		case len(words) == 0 || words[0] == "--":
			return settings, nil, &Error{Message: typed + " needs a value", Hint: "write " + typed + " " + f.Value}
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

// Environment returns the settings that the verb's variables make of flags not
// yet in typed. An empty variable is no variable; that of a repeatable flag
// holds one value per line.
func (p Program) Environment(v Verb, typed []Setting, getenv func(string) string) (settings []Setting, err error) {
	for _, f := range v.Flags {
		if !f.Env || Find(typed, f.Names[0]).Source != "" {
			continue
		}
		source := p.variable(v, f.Names[0])
		values := []string{getenv(source)}
		if f.Repeat {
			values = strings.Split(values[0], "\n")
		}
		for _, value := range values {
			if value == "" {
				continue
			}
			s, err := f.setting(value, source)
			if err != nil {
				return nil, err
			}
			settings = append(settings, s)
		}
	}
	return settings, nil
}

// variable is PROGRAM_VERB_NAME, with "_" for "-".
func (p Program) variable(v Verb, name string) string {
	return strings.ToUpper(strings.ReplaceAll(p.Name+"_"+v.Name+"_"+name, "-", "_"))
}

// setting checks a value before anybody acts on it.
func (f Flag) setting(value, source string) (Setting, error) {
	if choices := f.choices(); choices != nil && !slices.Contains(choices, value) {
		return Setting{}, &Error{Message: fmt.Sprintf("%s: bad value %q", source, value), Hint: "use one of " + strings.Join(choices, ", ")}
	}
	if f.Check != nil {
		if err := f.Check(value); err != nil {
			return Setting{}, &Error{Message: fmt.Sprintf("%s: bad value %q", source, value), Hint: err.Error()}
		}
	}
	return Setting{f.Names[0], value, source}, nil
}

// choices are the words that the value is one of, or nil.
func (f Flag) choices() []string {
	if !strings.Contains(f.Value, "|") {
		return nil
	}
	return strings.Split(f.Value, "|")
}

// typed returns a name with its dashes: one before a letter, two before a word.
func typed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// Printable returns s on one line, without characters that a terminal acts on.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

func lookup(flags []Flag, word string) (Flag, bool) {
	for _, f := range flags {
		for _, name := range f.Names {
			if typed(name) == word {
				return f, true
			}
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
		for _, n := range f.Names {
			if n == name || len(name) > 2 && len(n) > 2 && (strings.HasPrefix(n, name) || strings.HasPrefix(name, n)) {
				e.Hint = "did you mean " + typed(n) + "?"
				return e
			}
		}
	}
	return e
}
