package probe

import (
	"errors"
	"io/fs"
	"os"

	"culvert/tunnel"
	"culvert/tunnel/audit"
	"culvert/tunnel/cli/args"
)

// compare is --compare. worse reports that the exit code is tunnel.ExitCheck.
func (c *Audit) compare() (worse bool, err error) {
	const hint = "culvert probe --audit --json writes such files"
	if len(c.Args) != 2 {
		return false, args.Usagef(hint, "--compare needs two files")
	}
	var reports [2]*audit.Report
	for i, name := range c.Args {
		f, err := os.Open(name)
		var path *fs.PathError
		if errors.As(err, &path) {
			return false, args.Usagef(hint, "%s: %v", name, path.Err)
		}
		reports[i], err = audit.ReadReport(f)
		f.Close()
		if err != nil {
			return false, args.Usagef(hint, "%s: %v", name, err)
		}
	}
	comparison := audit.Compare(reports[0], reports[1])
	if c.Flags.Bool("json") {
		err = comparison.WriteJSON(c.Out)
	} else {
		err = comparison.WriteText(c.Out, c.Style)
	}
	if comparison.Void() && err == nil {
		err = &args.Error{Message: "B could try no MUST: there is nothing to compare", Hint: "see in B why, and audit again", ExitCode: tunnel.ExitUnexpected}
	}
	return comparison.Worse, err
}
