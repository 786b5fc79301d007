package probe

import (
	"errors"
	"fmt"
	"io"
	"os"

	"culvert/tunnel/audit"
	"culvert/tunnel/cli/args"
	"culvert/tunnel/explain"
)

// junitFile is the file that --junit names. A nil junitFile writes nothing.
type junitFile struct{ *os.File }

// openJUnit opens the file without changing its content. It returns nil if there is no
// name.
func openJUnit(name string) (*junitFile, error) {
	switch name {
	case "":
		return nil, nil
	case "-":
		return nil, args.Usagef("as in --junit audit.xml", "--junit goes to a file: stdout has the audit itself")
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return nil, args.Usagef("give a file that can be written", "--junit: %v", err)
	}
	return &junitFile{f}, nil
}

// write replaces the content of the file by what form writes, and closes the file.
func (j *junitFile) write(form func(io.Writer) error) error {
	if j == nil {
		return nil
	}
	if info, err := j.Stat(); err == nil && info.Mode().IsRegular() {
		if err := j.Truncate(0); err != nil {
			return fmt.Errorf("--junit: %w", err)
		}
	}
	if err := errors.Join(form(j), j.Close()); err != nil {
		return fmt.Errorf("--junit: %w", err)
	}
	return nil
}

// failed writes that the audit could not be made, so that a reader of the file does not
// take an empty file, or that of an earlier audit, for the result.
func (j *junitFile) failed(a *audit.Auditor, err error) {
	sentence, _ := explain.Error(err)
	hops := a.Client.Route.Hops
	_ = j.write(func(w io.Writer) error { return audit.WriteJUnitError(w, hops[len(hops)-1].String(), sentence) })
}

// close closes the file if it was not written.
func (j *junitFile) close() {
	if j != nil {
		j.File.Close()
	}
}
