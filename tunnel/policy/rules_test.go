package policy

import (
	"errors"
	"strings"
	"testing"

	"culvert/tunnel"
)

func TestParseRules(t *testing.T) {
	rules, err := ParseRules("# staff\r\nallow *.corp.test:22,443\r\n\r\n\tdeny  secret.corp.test # not even for them\r\n" +
		"allow-addr private\ndeny-addr 10.9.0.0/16\nallow [2001:db8::1]:22\n#deny everything")
	if err != nil {
		t.Fatal(err)
	}
	if got := [...]int{len(rules.Allow), len(rules.Deny), len(rules.AllowAddr), len(rules.DenyAddr), rules.Len()}; got != [...]int{2, 1, 1, 1, 5} {
		t.Errorf("got %v rules", got)
	}
	if got := rules.Deny[0].String() + " " + rules.DenyAddr[0].String() + " " + rules.Allow[1].String(); got != "secret.corp.test 10.9.0.0/16 [2001:db8::1]:22" {
		t.Errorf("got %s", got)
	}
}

// What is not a rule, a half-written line for one, is an error that names the line.
func TestParseRulesErrors(t *testing.T) {
	for text, want := range map[string]string{
		"allow a.test\nden":                 `line 2: "den" is no rule: want allow PATTERN`,
		"allow a.test\ndeny":                "line 2: deny with 0 words behind it: ",
		"# x\n\nallow a.test b.test\n":      "line 3: allow with 2 words behind it: ",
		"allow a.test:":                     "line 1: allow: ",
		"deny-addr 10.0.0.0/":               "line 1: deny-addr: ",
		"allow-addr publi":                  "line 1: allow-addr: ",
		"allow a.test#comment":              "line 1: allow: ",
		"Allow a.test":                      `line 1: "Allow" is no rule`,
		"deny: a.test":                      `line 1: "deny:" is no rule`,
		"deny a.test\x00":                   "line 1: deny: ",
		"\xef\xbb\xbfdeny a.test":           "line 1: ",
		"allow a.test\rdeny b.test\r":       "line 1: allow with 3 words behind it: ",
		"deny a.test\nallow http://a.test/": "line 2: allow: want HOST[:PORTS], not a URL",
	} {
		rules, err := ParseRules(text)
		var e *RuleError
		if !errors.As(err, &e) || !strings.HasPrefix(err.Error(), want) || rules.Len() != 0 {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// Rules from files are added to those of the flags, deny wins, and a list without any rule
// keeps its default.
func TestPolicyWithRules(t *testing.T) {
	rules := func(text string) Rules {
		r, err := ParseRules(text)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for _, tt := range []struct {
		name          string
		policy        *Policy
		more          []Rules
		target        string
		allowed       bool
		rule, address string
	}{
		{"nothing is added", testPolicy(t, "", "", "", ""), nil, "a.test:443", true, "allow *:22,80,443 (default)", "public"},
		{"a deny is added", testPolicy(t, "", "", "", ""), []Rules{rules("deny a.test")}, "a.test:443", false, "deny a.test", "public"},
		{"the default allow stays beside a deny", testPolicy(t, "", "", "", ""), []Rules{rules("deny b.test")}, "a.test:443", true, "allow *:22,80,443 (default)", "public"},
		{"an allow replaces the default", testPolicy(t, "", "", "", ""), []Rules{rules("allow b.test")}, "a.test:443", false, "default", "public"},
		{"an allow is added to the flag's", testPolicy(t, "b.test", "", "", ""), []Rules{rules("allow a.test")}, "a.test:443", true, "allow a.test", "public"},
		{"the flag's stays", testPolicy(t, "a.test", "", "", ""), []Rules{rules("allow b.test")}, "a.test:443", true, "allow a.test", "public"},
		{"the flag's deny wins over a file's allow", testPolicy(t, "", "a.test", "", ""), []Rules{rules("allow a.test")}, "a.test:443", false, "deny a.test", "public"},
		{"one file's deny wins over another's allow", testPolicy(t, "", "", "", ""), []Rules{rules("deny a.test"), rules("allow a.test")}, "a.test:443", false, "deny a.test", "public"},
		{"addresses too", testPolicy(t, "", "", "private", ""), []Rules{rules("allow-addr loopback"), rules("deny-addr 10.0.0.0/8")}, "a.test:443", true,
			"allow *:22,80,443 (default)", "private, loopback; never 10.0.0.0/8"},
	} {
		target, err := tunnel.ParseAuthority(tt.target)
		if err != nil {
			t.Fatal(err)
		}
		p := tt.policy.With(tt.more...)
		if d := p.JudgeTarget(target); d.Allowed != tt.allowed || d.Rule != tt.rule {
			t.Errorf("%s: %+v", tt.name, d)
		}
		if _, addresses := p.Describe(); addresses != tt.address {
			t.Errorf("%s: the addresses are %s", tt.name, addresses)
		}
	}
}

// Whatever the text, the rules are as many as it has lines at most, and each is one that
// can be written again.
func FuzzParseRules(f *testing.F) {
	f.Add("allow *.a.test:22\r\n# comment\ndeny-addr private")
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := ParseRules(text)
		if err != nil {
			return
		}
		if rules.Len() > strings.Count(text, "\n")+1 {
			t.Errorf("%d rules", rules.Len())
		}
		for _, p := range append(rules.Allow, rules.Deny...) {
			if _, err := ParseRules("allow " + p.String()); err != nil {
				t.Errorf("%s: %v", p, err)
			}
		}
	})
}
