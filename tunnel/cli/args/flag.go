package args

import (
	"errors"
	"flag"
	"slices"
	"strings"
	"time"
)

// Spec is a flag as the package that reads it declares it. Usage is as FlagsOf
// has it.
type Spec struct {
	Name    string
	Aliases []string
	Kind    Kind
	Usage   string
	Default any // of the Kind's type; nil = its zero value
}

// Kind is what a flag's value is.
type Kind int

// The kinds of flags.
const (
	Text     Kind = iota // string
	List                 // strings, the flag may stand several times
	Switch               // no value
	Duration             // time.Duration
	Number               // int
)

// Values are the flags' values, whoever parsed them.
type Values interface {
	String(name string) string
	StringSlice(name string) []string
	Bool(name string) bool
	Duration(name string) time.Duration
	Int(name string) int
	IsSet(name string) bool
}

// described is what is asked of a flag of urfave/cli, all of which have it.
type described interface {
	Names() []string
	TakesValue() bool
	GetUsage() string
	GetDefaultText() string
	Apply(*flag.FlagSet) error
}

// FlagsOf tells what flags of urfave/cli are. A flag's usage holds the name
// of its value in backquotes, or its choices as `a|b`. Those of typedOnly come
// from no environment.
func FlagsOf[F any](typedOnly []string, flags []F) []Flag {
	var out []Flag
	for _, f := range flags {
		d := any(f).(described)
		repeated, ok := any(f).(interface{ IsSliceFlag() bool })
		shown := Flag{Names: d.Names(), Usage: strings.ReplaceAll(d.GetUsage(), "`", ""), Repeat: ok && repeated.IsSliceFlag()}
		shown.Env = !slices.Contains(typedOnly, shown.Names[0])
		if d.TakesValue() {
			shown.Value = "VALUE"
			if parts := strings.Split(d.GetUsage(), "`"); len(parts) == 3 {
				shown.Value = parts[1]
			}
		}
		if text := strings.ReplaceAll(d.GetDefaultText(), `"`, ""); !slices.Contains([]string{"false", "0", "0s"}, text) {
			shown.Default = text
		}
		if !shown.Repeat {
			shown.Check = checkOf(d)
		}
		out = append(out, shown)
	}
	return out
}

// checkOf lets the flag itself judge a value; the error is what to write.
func checkOf(f described) func(string) error {
	return func(value string) error {
		scratch := flag.NewFlagSet("", flag.ContinueOnError)
		if err := f.Apply(scratch); err != nil {
			return err
		}
		name := f.Names()[0]
		switch {
		case scratch.Set(name, value) == nil:
			return nil
		case !f.TakesValue():
			return errors.New("use true or false, 1 or 0")
		case scratch.Set(name, "1s") == nil:
			return errors.New("a duration is a number and a unit, as 10s or 1m30s; 0 is off")
		}
		return errors.New("a number is wanted")
	}
}
