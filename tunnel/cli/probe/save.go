package probe

import (
	"errors"
	"fmt"
	"os"

	"culvert/tunnel/cli/args"
	"culvert/tunnel/probe"
)

// PrepareSave checks that the file of --save can be created, before anything is sent.
// save creates it and writes the transcript of a report; version is culvert's. It never
// overwrites a file, and removes one that it could not write in full. With an empty name
// save does nothing. A name that cannot be used is an *args.Error.
func PrepareSave(name, version string) (save func(*probe.Report) error, err error) {
	if name == "" {
		return func(*probe.Report) error { return nil }, nil
	}
	f, err := create(name)
	if err != nil {
		return nil, err
	}
	f.Close()
	_ = os.Remove(name) // an interrupted probe leaves nothing
	return func(r *probe.Report) error {
		f, err := create(name)
		if err != nil {
			return err
		}
		err = r.WriteTranscript(f, version)
		if closed := f.Close(); err == nil {
			err = closed
		}
		if err != nil {
			_ = os.Remove(name)
			return fmt.Errorf("--save: nothing is saved: %w", err)
		}
		return nil
	}, nil
}

// create creates a file that does not exist yet.
func create(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case errors.Is(err, os.ErrExist):
		return nil, args.Usagef("name another, or remove it first", "--save: %s is there already", name)
	case err != nil:
		return nil, args.Usagef("name a file that can be written", "--save: %v", err)
	}
	return f, nil
}
