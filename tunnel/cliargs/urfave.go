package cliargs

import (
	"errors"
	"flag"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// OfUrfave tells what urfave's flags are. A flag's usage holds the name
// of its value in backquotes, or its choices as `a|b`. Those of typedOnly come
// from no environment.
func OfUrfave(typedOnly []string, flags []cli.Flag) []Flag {
	var out []Flag
	for _, f := range flags {
		d := f.(cli.DocGenerationFlag)
		repeated, ok := f.(cli.DocGenerationSliceFlag)
		shown := Flag{Names: f.Names(), Usage: strings.ReplaceAll(d.GetUsage(), "`", ""), Repeat: ok && repeated.IsSliceFlag()}
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
			shown.Check = checkOf(f)
		}
		out = append(out, shown)
	}
	return out
}

// checkOf lets the flag itself judge a value; the error is what to write.
func checkOf(f cli.Flag) func(string) error {
	return func(value string) error {
		scratch := flag.NewFlagSet("", flag.ContinueOnError)
		if err := f.Apply(scratch); err != nil {
			return err
		}
		if scratch.Set(f.Names()[0], value) == nil {
			return nil
		}
		switch f.(type) {
		case *cli.DurationFlag:
			return errors.New("a duration is a number and a unit, as 10s or 1m30s; 0 is off")
		case *cli.BoolFlag:
			return errors.New("use true or false, 1 or 0")
		}
		return errors.New("a number is wanted")
	}
}
