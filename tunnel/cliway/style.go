package cliway

import (
	"os"
	"strconv"

	"culvert/tunnel"

	"github.com/fatih/color"
	"golang.org/x/term"
)

// StyleFor decides about colour and width for one stream; mode is the value of
// --color.
func StyleFor(f *os.File, mode string) tunnel.Style {
	on := mode == "always" || mode != "never" &&
		os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
	dress := func(attributes ...color.Attribute) func(string) string {
		c := color.New(attributes...)
		// The object's own switch overrules the library's, which judges stdout only.
		if on {
			c.EnableColor()
		} else {
			c.DisableColor()
		}
		return func(s string) string { return c.Sprint(s) }
	}
	return tunnel.Style{
		Width: width(f),
		Talk:  dress(color.FgCyan), Sent: dress(color.FgBlue), Received: dress(color.FgMagenta),
		Good: dress(color.FgGreen), Warn: dress(color.FgYellow), Bad: dress(color.FgRed, color.Bold),
		Faint: dress(color.Faint), Bold: dress(color.Bold),
	}
}

// width is the columns of a terminal, 0 if f is none. COLUMNS overrules it, for
// pagers.
func width(f *os.File) int {
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	n, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return n
}
