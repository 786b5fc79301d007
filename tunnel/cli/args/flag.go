package args

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Flag is one flag of a program or a verb. The parser, the help, the manual page and
// the completion scripts all work from it.
type Flag struct {
	Name    string // without dashes
	Aliases []string
	Kind    Kind
	// Usage is one sentence in lower case without a full stop. The name of the
	// value stands in backquotes, as `FILE`, or the choices do, as `a|b`.
	Usage       string
	Default     any    // of the Kind's Go type; nil = its zero value
	DefaultText string // shown instead of Default
	KeepSpace   bool   // for a List: spaces around a value are part of it
	TypedOnly   bool   // the environment cannot set it, as it weakens or redirects too much
}

// Kind is the type of a flag's value.
type Kind int

// The kinds of flags.
const (
	Text     Kind = iota // string
	List                 // []string: the flag is repeatable, every value counts
	Switch               // bool: the flag takes no value
	Duration             // time.Duration
	Number               // int
)

// names returns the flag's name and its aliases, without dashes.
func (f Flag) names() []string { return append([]string{f.Name}, f.Aliases...) }

// typedNames returns the flag's name and its aliases, with dashes.
func (f Flag) typedNames() []string {
	names := f.names()
	for i, n := range names {
		names[i] = typed(n)
	}
	return names
}

// value returns what the help calls the value, or its choices; "" for a Switch, which
// takes none.
func (f Flag) value() string {
	if f.Kind == Switch {
		return ""
	}
	if parts := strings.Split(f.Usage, "`"); len(parts) == 3 {
		return parts[1]
	}
	return "VALUE"
}

// choices returns the words that the value may be, nil if it may be any.
func (f Flag) choices() []string {
	if !strings.Contains(f.value(), "|") {
		return nil
	}
	return strings.Split(f.value(), "|")
}

// usage returns Usage without its backquotes.
func (f Flag) usage() string { return strings.ReplaceAll(f.Usage, "`", "") }

// shownDefault returns the default as the help shows it; "" = it shows none.
func (f Flag) shownDefault() string {
	if f.DefaultText != "" || f.Default == nil {
		return f.DefaultText
	}
	return fmt.Sprint(f.Default)
}

// parse returns the value that a text stands for, in the Go type of f's Kind, or as a
// string if that is List. An error says what to write instead.
func (f Flag) parse(text string) (any, error) {
	if choices := f.choices(); choices != nil && !slices.Contains(choices, text) {
		return nil, errors.New("use one of " + strings.Join(choices, ", "))
	}
	switch f.Kind {
	case Switch:
		on, err := strconv.ParseBool(text)
		if err != nil {
			return nil, errors.New("use true or false, 1 or 0")
		}
		return on, nil
	case Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return nil, errors.New("a duration is a number and a unit, as 10s or 1m30s; 0 is off")
		}
		return d, nil
	case Number:
		n, err := strconv.ParseInt(text, 0, strconv.IntSize)
		if err != nil {
			return nil, errors.New("a number is wanted")
		}
		return int(n), nil
	case List:
		if !f.KeepSpace {
			text = strings.TrimSpace(text)
		}
	}
	return text, nil
}

// typed returns a name with its dashes: one for a letter, two for a word.
func typed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}
