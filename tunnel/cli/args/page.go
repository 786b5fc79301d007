package args

// PageFlags returns the flags, to stand before the verb, that print a page instead
// of doing a verb's work.
func PageFlags() []Flag {
	return []Flag{
		{Name: "completion", Kind: Text, Usage: "print a completion script: `bash|zsh|fish`"},
		{Name: "man", Kind: Switch, Usage: "print the manual page, for man -l -"},
		{Name: "version", Kind: Switch, Usage: "print the version"},
	}
}

// HelpFlag returns the flag that prints the help of the program or of a verb. Each
// table of flags needs it.
func HelpFlag() Flag {
	return Flag{Name: "help", Kind: Switch, Aliases: []string{"h"}, TypedOnly: true, Usage: "print this help"}
}

// Page returns the page that the flags ask for: help, version, manual page or
// completion script. It is "" if they ask for none. The program's table must have
// the PageFlags, and every table the HelpFlag.
func (l *Line) Page() string {
	switch {
	case l.IsSet("help"):
		if l.Verb != nil {
			return l.program.Help(*l.Verb)
		}
		return l.program.Help(l.program.Verb)
	case l.IsSet("version"):
		return l.program.Name + " " + l.program.Version + "\n"
	case l.IsSet("man"):
		return l.program.Man()
	case l.IsSet("completion"):
		return l.program.Completion(l.String("completion"))
	}
	return ""
}
