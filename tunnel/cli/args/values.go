package args

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Values holds the values of the flags in a table: as they were set, or the defaults.
// They are read by name, with the method for the flag's kind. If a flag was set more
// than once, the last value counts; of a List all do.
//
// A name that is not in the table, or of another kind, is the programmer's mistake and
// panics: a zero value would look like a flag that was not set.
type Values struct {
	tables   [][]Flag // the verb's, and the program's
	settings []Setting
}

// Setting is a flag that was set to a value.
type Setting struct {
	Name, Value string
	Source      string // the flag as typed, as "-x", or the variable, as "CULVERT_DIAL_PROXY"
}

// Names is a list of names of flags, each of which some table must have.
type Names []string

// String returns the value of a Text flag.
func (v *Values) String(name string) string { return value[string](v, name, Text) }

// Bool returns the value of a Switch.
func (v *Values) Bool(name string) bool { return value[bool](v, name, Switch) }

// Duration returns the value of a Duration flag.
func (v *Values) Duration(name string) time.Duration { return value[time.Duration](v, name, Duration) }

// Int returns the value of a Number flag.
func (v *Values) Int(name string) int { return value[int](v, name, Number) }

// Strings returns all values of a List in order, nil if there are none.
func (v *Values) Strings(name string) []string {
	f := v.flag(name, List)
	var all []string
	for _, s := range v.settings {
		if s.Name == name {
			one, _ := f.parse(s.Value)
			all = append(all, one.(string))
		}
	}
	return all
}

// Timeout returns the value of a Duration flag where 0 means off, for a library where
// -1 means off and 0 the default. A negative value is an *Error.
func (v *Values) Timeout(name string) (time.Duration, error) {
	switch d := v.Duration(name); {
	case d < 0:
		return 0, v.Mistake(name, errors.New("a duration cannot be negative"), "0 is off")
	case d == 0:
		return -1, nil
	default:
		return d, nil
	}
}

// Has reports whether the verb or the program has a flag of that name.
func (v *Values) Has(name string) bool {
	_, ok := v.lookup(name)
	return ok
}

// Last returns the last Setting of a flag, the zero Setting if it was not set.
func (v *Values) Last(name string) Setting {
	v.flag(name)
	return last(v.settings, name)
}

// Source returns the source of a flag's last Setting: the flag as typed, "--proxy" or
// "-x", or the name of a variable; "" if the flag was not set.
func (v *Values) Source(name string) string { return v.Last(name).Source }

// IsSet reports whether a flag was set, on the command line or by a variable.
func (v *Values) IsSet(name string) bool { return v.Source(name) != "" }

// IsTyped reports whether a flag was set on the command line, and not by a variable.
func (v *Values) IsTyped(name string) bool { return strings.HasPrefix(v.Source(name), "-") }

// IsGiven reports whether a Switch is on, a List was set, or a flag of another kind was
// set to a value other than "" and "false".
func (v *Values) IsGiven(name string) bool {
	switch v.flag(name).Kind {
	case Switch:
		return v.Bool(name)
	case List:
		return v.IsSet(name)
	}
	value := v.Last(name).Value
	return value != "" && value != "false"
}

// Settings returns every Setting: first those of the command line in its order, then
// those of the environment.
func (v *Values) Settings() []Setting { return v.settings }

// Set sets a flag. source names what the value comes from; it is for arguments that
// stand for flags.
func (v *Values) Set(name, value, source string) {
	v.flag(name)
	v.settings = append(v.settings, Setting{name, value, source})
}

// Rewrite replaces every value of a flag that was set by what rewrite returns for it.
func (v *Values) Rewrite(name string, rewrite func(value string) string) {
	v.flag(name)
	for i, s := range v.settings {
		if s.Name == name {
			v.settings[i].Value = rewrite(s.Value)
		}
	}
}

// Mistake returns an *Error about the value of a flag. The message names the flag as it
// was typed, or the variable.
func (v *Values) Mistake(name string, err error, hint string) error {
	return Usagef(hint, "%s: %v", cmp.Or(v.Source(name), typed(name)), err)
}

// flag returns the flag of that name. It panics if there is none, or if a kind is given
// and the flag's is another.
func (v *Values) flag(name string, kind ...Kind) Flag {
	f, ok := v.lookup(name)
	if !ok || len(kind) > 0 && f.Kind != kind[0] {
		panic(fmt.Sprintf("args: no flag %q of this kind", name))
	}
	return f
}

// value returns the value of a flag's last Setting, or its default.
func value[T any](v *Values, name string, kind Kind) (value T) {
	f := v.flag(name, kind)
	value, _ = f.Default.(T)
	if s := last(v.settings, name); s.Source != "" {
		parsed, _ := f.parse(s.Value) // its error was reported when the flag was set
		value, _ = parsed.(T)
	}
	return value
}

// lookup returns the flag of that name.
func (v *Values) lookup(name string) (Flag, bool) {
	for _, table := range v.tables {
		for _, f := range table {
			if f.Name == name {
				return f, true
			}
		}
	}
	return Flag{}, false
}

// last returns the last Setting of a flag, the zero Setting if there is none.
func last(settings []Setting, name string) (last Setting) {
	for _, s := range settings {
		if s.Name == name {
			last = s
		}
	}
	return last
}
