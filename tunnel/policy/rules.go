package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Rules are rules for a Policy that were read from a text.
type Rules struct {
	Allow, Deny         []Pattern
	AllowAddr, DenyAddr []AddrRule
}

// RuleError is a mistake in a text of rules.
type RuleError struct {
	Line int // from 1
	Err  error
}

// Error returns the mistake with the number of its line.
func (e *RuleError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns Err.
func (e *RuleError) Unwrap() error { return e.Err }

var errRuleForm = errors.New("want allow PATTERN, deny PATTERN, allow-addr WHERE or deny-addr WHERE")

// ParseRules parses a text with a rule on each line: allow PATTERN or deny PATTERN, as
// ParsePattern takes it, allow-addr WHERE or deny-addr WHERE, as ParseAddrRule takes it.
// White space around the words does not matter, a # at the beginning of a line or behind
// white space begins a comment, and lines may end in CR LF. The error is a *RuleError.
func ParseRules(text string) (rules Rules, err error) {
	number := 0
	for line := range strings.Lines(text) {
		number++
		words := strings.Fields(line)
		if i := slices.IndexFunc(words, func(word string) bool { return word[0] == '#' }); i >= 0 {
			words = words[:i]
		}
		if len(words) == 0 {
			continue
		}
		if err := rules.add(words); err != nil {
			return Rules{}, &RuleError{number, err}
		}
	}
	return rules, nil
}

// add adds the rule of one line.
func (r *Rules) add(words []string) error {
	var patterns *[]Pattern
	var addrs *[]AddrRule
	switch words[0] {
	case "allow":
		patterns = &r.Allow
	case "deny":
		patterns = &r.Deny
	case "allow-addr":
		addrs = &r.AllowAddr
	case "deny-addr":
		addrs = &r.DenyAddr
	default:
		return fmt.Errorf("%q is no rule: %w", words[0], errRuleForm)
	}
	if len(words) != 2 {
		return fmt.Errorf("%s with %d words behind it: %w", words[0], len(words)-1, errRuleForm)
	}
	if patterns != nil {
		p, err := ParsePattern(words[1])
		if err != nil {
			return fmt.Errorf("%s: %w", words[0], err)
		}
		*patterns = append(*patterns, p)
		return nil
	}
	a, err := ParseAddrRule(words[1])
	if err != nil {
		return fmt.Errorf("%s: %w", words[0], err)
	}
	*addrs = append(*addrs, a)
	return nil
}

// Len returns the number of rules.
func (r *Rules) Len() int {
	return len(r.Allow) + len(r.Deny) + len(r.AllowAddr) + len(r.DenyAddr)
}

// With returns a copy of p that has further rules. A list that is nil in p, and so has a
// default, loses the default if there are rules for it.
func (p *Policy) With(more ...Rules) *Policy {
	c := &Policy{
		Allow: slices.Clone(p.Allow), Deny: slices.Clone(p.Deny), AllowAddr: slices.Clone(p.AllowAddr), DenyAddr: slices.Clone(p.DenyAddr),
		IsOwn: p.IsOwn,
	}
	for _, r := range more {
		c.Allow, c.Deny = append(c.Allow, r.Allow...), append(c.Deny, r.Deny...)
		c.AllowAddr, c.DenyAddr = append(c.AllowAddr, r.AllowAddr...), append(c.DenyAddr, r.DenyAddr...)
	}
	return c
}
