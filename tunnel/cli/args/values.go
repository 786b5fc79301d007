package args

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Values are the values of the flags in a table, as they were set, or their
// defaults. They are read by name, by the method of the flag's kind. Where a flag
// was set several times the last value counts, but for a List.
//
// A name that is not in the table, or of another kind, is a mistake of the
// programmer's, and a panic: a zero value would pass for a flag that nobody set.
type Values struct {
	tables   [][]Flag // of the verb, and of the program
	settings []Setting
}

// Setting is one flag set once.
type Setting struct {
	Name, Value string
	Source      string // as it was typed, "-x", or the variable, "CULVERT_DIAL_PROXY"
}

// Names are the names of flags.
type Names []string

// String returns the value of a Text flag.
func (v *Values) String(name string) string { return value[string](v, name, Text) }

// Bool returns the value of a Switch.
func (v *Values) Bool(name string) bool { return value[bool](v, name, Switch) }

// Duration returns the value of a Duration flag.
func (v *Values) Duration(name string) time.Duration { return value[time.Duration](v, name, Duration) }

// Int returns the value of a Number flag.
func (v *Values) Int(name string) int { return value[int](v, name, Number) }

// Strings returns all values of a List in order; nil if there are none.
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

// Timeout returns the value of a Duration flag of which 0 means off: for a
// library where -1 is off, and 0 the default. A negative one is an *Error.
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

// Has reports whether the verb has a flag of that name.
func (v *Values) Has(name string) bool {
	_, ok := v.lookup(name)
	return ok
}

// Last returns how a flag was set last; the zero Setting if it was not set.
func (v *Values) Last(name string) Setting {
	v.flag(name)
	return last(v.settings, name)
}

// Source returns what set a flag last: as typed, "--proxy" or "-x", or the name
// of a variable; "" if nothing did.
func (v *Values) Source(name string) string { return v.Last(name).Source }

// IsSet reports whether a flag was set, on the line or by a variable.
func (v *Values) IsSet(name string) bool { return v.Source(name) != "" }

// IsTyped reports whether a flag was set on the line.
func (v *Values) IsTyped(name string) bool { return strings.HasPrefix(v.Source(name), "-") }

// IsGiven reports whether a Switch is on, a List was set, or another flag has a
// value that is neither empty nor false.
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

// Settings returns every setting: those of the line in its order, then those of
// the environment.
func (v *Values) Settings() []Setting { return v.settings }

// Set sets a flag as if the source had: for arguments that stand for flags.
func (v *Values) Set(name, value, source string) {
	v.flag(name)
	v.settings = append(v.settings, Setting{name, value, source})
}

// Rewrite replaces every value that a flag was set to.
func (v *Values) Rewrite(name string, rewrite func(value string) string) {
	v.flag(name)
	for i, s := range v.settings {
		if s.Name == name {
			v.settings[i].Value = rewrite(s.Value)
		}
	}
}

// Mistake returns an *Error about the value of a flag. It names the flag as it was
// typed, or the variable that the value came from.
func (v *Values) Mistake(name string, err error, hint string) error {
	return Usagef(hint, "%s: %v", cmp.Or(v.Source(name), typed(name)), err)
}

// flag returns the flag of that name, which must be of the kind, if one is
// given.
func (v *Values) flag(name string, kind ...Kind) Flag {
	f, ok := v.lookup(name)
	if !ok || len(kind) > 0 && f.Kind != kind[0] {
		panic(fmt.Sprintf("args: no flag %q of this kind", name))
	}
	return f
}

// value returns the last value of a flag, or its default.
func value[T any](v *Values, name string, kind Kind) (value T) {
	f := v.flag(name, kind)
	value, _ = f.Default.(T)
	if s := last(v.settings, name); s.Source != "" {
		parsed, _ := f.parse(s.Value) // its error was reported when the flag was set
		value, _ = parsed.(T)
	}
	return value
}

// lookup finds a flag by its name.
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

// last returns the last setting of a flag, the zero Setting if there is none.
func last(settings []Setting, name string) (last Setting) {
	for _, s := range settings {
		if s.Name == name {
			last = s
		}
	}
	return last
}
