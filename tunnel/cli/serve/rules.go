package serve

import (
	"errors"
	"fmt"
	"strings"

	"culvert/tunnel/cli/args"
	"culvert/tunnel/internal/textfile"
	"culvert/tunnel/policy"
)

// Rules are the rules of the flags and of the files of --rules.
type Rules struct {
	flags policy.Policy
	files []*rulesFile
}

// rulesFile is one file of --rules, as it was read last.
type rulesFile struct {
	path  string
	text  string
	rules policy.Rules
}

// ReadRules reads the files of --rules, and adds their rules to p, which has those of the
// flags.
func ReadRules(flags *args.Values, p *policy.Policy) (*Rules, error) {
	r := &Rules{flags: policy.Policy{Allow: p.Allow, Deny: p.Deny, AllowAddr: p.AllowAddr, DenyAddr: p.DenyAddr}}
	for _, path := range flags.Strings("rules") {
		f := &rulesFile{path: path}
		if _, err := f.read(); err != nil {
			return nil, flags.Mistake("rules", err, "a line is allow PATTERN, deny PATTERN, allow-addr WHERE, deny-addr WHERE, or a # and a comment")
		}
		r.files = append(r.files, f)
	}
	all := r.Policy()
	p.Allow, p.Deny, p.AllowAddr, p.DenyAddr = all.Allow, all.Deny, all.AllowAddr, all.DenyAddr
	return r, nil
}

// Policy returns all rules together.
func (r *Rules) Policy() *policy.Policy {
	more := make([]policy.Rules, len(r.files))
	for i, f := range r.files {
		more[i] = f.rules
	}
	return r.flags.With(more...)
}

var errEmptied = errors.New("it is empty; a comment in it says that it is meant to have no rule")

// read reads the file, and reports whether it has changed. After an error the rules
// before stay. A file that has become empty is an error: it is more likely to be half
// written than to take every deny away.
func (f *rulesFile) read() (changed bool, err error) {
	b, err := textfile.Read(f.path)
	if err != nil {
		return false, err
	}
	text := string(b)
	if text == f.text {
		return false, nil
	}
	if strings.TrimSpace(text) == "" && f.rules.Len() > 0 {
		return false, fmt.Errorf("%s: %w", f.path, errEmptied)
	}
	rules, err := policy.ParseRules(text)
	var mistake *policy.RuleError
	if errors.As(err, &mistake) {
		return false, fmt.Errorf("%s:%d: %w", f.path, mistake.Line, mistake.Err)
	} else if err != nil {
		return false, err
	}
	f.text, f.rules = text, rules
	return true, nil
}
