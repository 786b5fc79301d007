package args

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var testFlags = []Flag{
	{Name: "proxy", Aliases: []string{"x"}, Kind: List, Usage: "`URL` of a proxy"},
	{Name: "on-eof", Default: "wait", Usage: "at end of file: `wait|close`"},
	{Name: "verbose", Aliases: []string{"v"}, Kind: Switch, Usage: "tell more"},
	{Name: "count", Kind: Number, Default: 1, Usage: "try `N` times"},
	{Name: "timeout", Kind: Duration, Default: 30 * time.Second, Usage: "give up after `TIME`"},
	{Name: "listen", Kind: List, KeepSpace: true, Usage: "accept on `ADDR`"},
	{Name: "insecure", Kind: Switch, TypedOnly: true, Usage: "verify nothing"},
}

func testLine() *Line {
	return NewLine(Program{
		Name: "culvert",
		Verb: Verb{Flags: []Flag{
			{Name: "color", Default: "auto", Usage: "when: `auto|never`"},
			{Name: "help", Aliases: []string{"h"}, Kind: Switch, TypedOnly: true, Usage: "print this help"},
		}},
		Verbs: []Verb{{Name: "dial", Flags: testFlags}, {Name: "serve"}, {Name: "probe"}},
	})
}

func TestParseFlags(t *testing.T) {
	proxy := Setting{"proxy", "p", "--proxy"}
	for _, tt := range []struct {
		name     string
		words    []string
		verbNext bool
		settings []Setting
		rest     []string
	}{
		{"nothing", nil, false, nil, nil},
		{"flag before", []string{"--proxy", "p", "h", "1"}, false, []Setting{proxy}, []string{"h", "1"}},
		{"flag between", []string{"h", "--proxy", "p", "1"}, false, []Setting{proxy}, []string{"h", "1"}},
		{"flag after", []string{"h", "1", "--proxy=p"}, false, []Setting{proxy}, []string{"h", "1"}},
		{"alias", []string{"-x", "p"}, false, []Setting{{"proxy", "p", "-x"}}, nil},
		{"alias with =", []string{"-x=p"}, false, []Setting{{"proxy", "p", "-x"}}, nil},
		{"repeated by both names", []string{"-x", "a", "--proxy", "p"}, false, []Setting{{"proxy", "a", "-x"}, proxy}, nil},
		{"value with =", []string{"--proxy=a=b"}, false, []Setting{{"proxy", "a=b", "--proxy"}}, nil},
		{"empty value", []string{"--proxy="}, false, []Setting{{"proxy", "", "--proxy"}}, nil},
		{"value like a flag", []string{"--proxy", "-v"}, false, []Setting{{"proxy", "-v", "--proxy"}}, nil},
		{"value --", []string{"--proxy=--"}, false, []Setting{{"proxy", "--", "--proxy"}}, nil},
		{"switch", []string{"-v", "h"}, false, []Setting{{"verbose", "true", "-v"}}, []string{"h"}},
		{"switch off", []string{"-v=0"}, false, []Setting{{"verbose", "0", "-v"}}, nil},
		{"flags end", []string{"-v", "--", "--proxy", "--"}, false, []Setting{{"verbose", "true", "-v"}}, []string{"--proxy", "--"}},
		{"lone dash and empty word", []string{"-", ""}, false, nil, []string{"-", ""}},
		{"up to the verb", []string{"-v", "dial", "-z"}, true, []Setting{{"verbose", "true", "-v"}}, []string{"dial", "-z"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			settings, rest, err := parseFlags(testFlags, tt.words, tt.verbNext)
			if err != nil || !slices.Equal(settings, tt.settings) || !slices.Equal(rest, tt.rest) {
				t.Errorf("got %q, %q, %v", settings, rest, err)
			}
		})
	}
}

func TestParseFlagsRefuses(t *testing.T) {
	for _, tt := range []struct {
		name          string
		words         []string
		message, hint string
	}{
		{"unknown word", []string{"--zebra"}, "unknown flag --zebra", "--help lists the flags; -- ends them, before an argument that begins with -"},
		{"unknown letter", []string{"-z"}, "unknown flag -z", "--help lists the flags; -- ends them, before an argument that begins with -"},
		{"the value of an unknown flag stays secret", []string{"--zebra=s3cret"}, "unknown flag --zebra", "--help lists the flags; -- ends them, before an argument that begins with -"},
		{"one dash before a word", []string{"-proxy", "p"}, "unknown flag -proxy", "did you mean --proxy?"},
		{"two before a letter", []string{"--v"}, "unknown flag --v", "did you mean -v?"},
		{"cut short", []string{"--verb"}, "unknown flag --verb", "did you mean --verbose?"},
		{"too long", []string{"--proxy-url", "p"}, "unknown flag --proxy-url", "did you mean --proxy?"},
		{"no value at the end", []string{"h", "-x"}, "-x needs a value", "write -x URL"},
		{"no value before --", []string{"--proxy", "--", "h"}, "--proxy needs a value", "write --proxy URL"},
		{"not a choice", []string{"--on-eof", "bang"}, `--on-eof: bad value "bang"`, "use one of wait, close"},
		{"no number", []string{"--count=two"}, `--count: bad value "two"`, "a number is wanted"},
		{"no duration", []string{"--timeout", "5"}, `--timeout: bad value "5"`, "a duration is a number and a unit, as 10s or 1m30s; 0 is off"},
		{"a switch neither on nor off", []string{"-v=perhaps"}, `-v: bad value "perhaps"`, "use true or false, 1 or 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := parseFlags(testFlags, tt.words, false)
			var e *Error
			if !errors.As(err, &e) || e.Message != tt.message || e.Hint != tt.hint {
				t.Errorf("got %+v", err)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	for _, tt := range []struct {
		name     string
		words    string
		variable string
		value    string
		want     []Setting
		message  string
	}{
		{"unset", "dial", "CULVERT_DIAL_PROXY", "", nil, ""},
		{"one value", "dial", "CULVERT_DIAL_ON_EOF", "close", []Setting{{"on-eof", "close", "CULVERT_DIAL_ON_EOF"}}, ""},
		{"a value per line", "dial", "CULVERT_DIAL_PROXY", "a,b\n\nc\n", []Setting{{"proxy", "a,b", "CULVERT_DIAL_PROXY"}, {"proxy", "c", "CULVERT_DIAL_PROXY"}}, ""},
		{"typed wins", "dial -x p", "CULVERT_DIAL_PROXY", "a", []Setting{{"proxy", "p", "-x"}}, ""},
		{"another verb's", "dial", "CULVERT_PROBE_PROXY", "a", nil, ""},
		{"an alias has none", "dial", "CULVERT_DIAL_X", "a", nil, ""},
		{"must be typed", "dial", "CULVERT_DIAL_INSECURE", "1", nil, ""},
		{"bad value", "dial", "CULVERT_DIAL_COUNT", "two", nil, `CULVERT_DIAL_COUNT: bad value "two"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			line := testLine()
			if err := line.Parse(strings.Fields(tt.words)); err != nil {
				t.Fatal(err)
			}
			message := ""
			if err := line.Environment(func(name string) string {
				if name == tt.variable {
					return tt.value
				}
				return ""
			}); err != nil {
				message = err.Error()
			}
			if got := line.Settings(); !slices.Equal(got, tt.want) || message != tt.message {
				t.Errorf("got %q, %q", got, message)
			}
		})
	}
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		words string
		verb  string
		args  []string
		set   []Setting
		err   string
	}{
		{"", "", nil, nil, ""},
		{"dial h 1 -v", "dial", []string{"h", "1"}, []Setting{{"verbose", "true", "-v"}}, ""},
		{"--color never dial --color auto", "dial", nil, []Setting{{"color", "never", "--color"}}, "unknown flag --color"},
		{"--color never dial -v -- -x", "dial", []string{"-x"}, []Setting{{"color", "never", "--color"}, {"verbose", "true", "-v"}}, ""},
		{"help", "", nil, []Setting{{"help", "true", "help"}}, ""},
		{"help dial", "dial", nil, []Setting{{"help", "true", "help"}}, ""},
		{"dial help", "dial", []string{"help"}, nil, ""},
		{"help dail", "", nil, []Setting{{"help", "true", "help"}}, `unknown verb "dail"`},
		{"-v dial", "", nil, nil, "unknown flag -v"},
		{"dial h -v --porxy p", "dial", nil, []Setting{{"verbose", "true", "-v"}}, "unknown flag --porxy"},
	} {
		t.Run(tt.words, func(t *testing.T) {
			line := testLine()
			message, verb := "", ""
			if err := line.Parse(strings.Fields(tt.words)); err != nil {
				message = err.Error()
			}
			if line.Verb != nil {
				verb = line.Verb.Name
			}
			if verb != tt.verb || !slices.Equal(line.Args, tt.args) || !slices.Equal(line.Settings(), tt.set) || message != tt.err {
				t.Errorf("got %q, %q, %q, %q", verb, line.Args, line.Settings(), message)
			}
		})
	}
}

func TestUnknownVerbHintsAtTheVerbs(t *testing.T) {
	var e *Error
	if err := testLine().Parse([]string{"dail"}); !errors.As(err, &e) || e.Hint != "the verbs are dial, serve and probe; culvert --help tells what they do" {
		t.Errorf("got %+v", err)
	}
}

func TestValues(t *testing.T) {
	read := map[string]func(*Values) any{
		"proxy":    func(v *Values) any { return v.Strings("proxy") },
		"listen":   func(v *Values) any { return v.Strings("listen") },
		"on-eof":   func(v *Values) any { return v.String("on-eof") },
		"verbose":  func(v *Values) any { return v.Bool("verbose") },
		"count":    func(v *Values) any { return v.Int("count") },
		"timeout":  func(v *Values) any { return v.Duration("timeout") },
		"insecure": func(v *Values) any { return v.Bool("insecure") },
		"color":    func(v *Values) any { return v.String("color") },
	}
	for _, tt := range []struct {
		name  string
		words []string
		flag  string
		want  any
	}{
		{"no list", nil, "proxy", []string(nil)},
		{"a list keeps commas", []string{"-x", "a,b", "--proxy=c"}, "proxy", []string{"a,b", "c"}},
		{"a list drops the spaces around a value", []string{"-x", " a b "}, "proxy", []string{"a b"}},
		{"unless they are part of it", []string{"--listen", " a "}, "listen", []string{" a "}},
		{"an empty value of a list counts", []string{"-x="}, "proxy", []string{""}},
		{"the default of a text", nil, "on-eof", "wait"},
		{"the last text counts", []string{"--on-eof", "wait", "--on-eof", "close"}, "on-eof", "close"},
		{"a switch is off", nil, "verbose", false},
		{"on", []string{"-v"}, "verbose", true},
		{"on and off", []string{"-v", "--verbose=f"}, "verbose", false},
		{"the default of a number", nil, "count", 1},
		{"a number", []string{"--count", "-3"}, "count", -3},
		{"in another base", []string{"--count", "0x10"}, "count", 16},
		{"the default of a duration", nil, "timeout", 30 * time.Second},
		{"a duration", []string{"--timeout", "1m30s"}, "timeout", 90 * time.Second},
		{"0 needs no unit", []string{"--timeout", "0"}, "timeout", time.Duration(0)},
		{"the program's flags too", nil, "color", "auto"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			line := testLine()
			if err := line.Parse(append([]string{"dial"}, tt.words...)); err != nil {
				t.Fatal(err)
			}
			if got := read[tt.flag](&line.Values); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %#v, want %#v", got, tt.want)
			}
		})
	}
}

// Reading a flag by a wrong name or kind is a bug, which a zero value would hide.
func TestValuesRefuseWhatIsNotInTheTable(t *testing.T) {
	line := testLine()
	if err := line.Parse([]string{"dial"}); err != nil {
		t.Fatal(err)
	}
	for name, read := range map[string]func(){
		"misspelt":       func() { line.Bool("verbos") },
		"an alias":       func() { line.Bool("v") },
		"another kind":   func() { line.String("count") },
		"a list as text": func() { line.String("proxy") },
		"its source":     func() { line.Source("porxy") },
		"its setting":    func() { line.Set("porxy", "a", "b") },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			read()
		})
	}
	if line.Has("verbos") || !line.Has("verbose") || !line.Has("help") {
		t.Error("Has is wrong")
	}
}

func TestHowAFlagWasSet(t *testing.T) {
	for _, tt := range []struct {
		words             string
		flag              string
		source            string
		set, typed, given bool
	}{
		{"dial", "proxy", "", false, false, false},
		{"dial -x a --proxy=b", "proxy", "--proxy", true, true, true},
		{"dial -x=", "proxy", "-x", true, true, true},
		{"dial -v=0", "verbose", "-v", true, true, false},
		{"dial -v", "verbose", "-v", true, true, true},
		{"dial --count=0", "count", "--count", true, true, true},
		{"dial", "count", "", false, false, false},
		{"dial", "timeout", "CULVERT_DIAL_TIMEOUT", true, false, true},
	} {
		t.Run(tt.words+" "+tt.flag, func(t *testing.T) {
			line := testLine()
			if err := line.Parse(strings.Fields(tt.words)); err != nil {
				t.Fatal(err)
			}
			if err := line.Environment(func(name string) string {
				return map[string]string{"CULVERT_DIAL_TIMEOUT": "1s"}[name]
			}); err != nil {
				t.Fatal(err)
			}
			if line.Source(tt.flag) != tt.source || line.IsSet(tt.flag) != tt.set || line.IsTyped(tt.flag) != tt.typed || line.IsGiven(tt.flag) != tt.given {
				t.Errorf("source %q, set %v, typed %v, given %v", line.Source(tt.flag), line.IsSet(tt.flag), line.IsTyped(tt.flag), line.IsGiven(tt.flag))
			}
		})
	}
}

func TestTimeout(t *testing.T) {
	for value, want := range map[string]time.Duration{"5s": 5 * time.Second, "0": -1} {
		line := testLine()
		if err := line.Parse([]string{"dial", "--timeout", value}); err != nil {
			t.Fatal(err)
		}
		if got, err := line.Timeout("timeout"); got != want || err != nil {
			t.Errorf("--timeout %s: %v, %v", value, got, err)
		}
	}
	line := testLine()
	if err := line.Parse([]string{"dial", "--timeout=-1s"}); err != nil {
		t.Fatal(err)
	}
	if _, err := line.Timeout("timeout"); err == nil || err.Error() != "--timeout: a duration cannot be negative" {
		t.Errorf("got %v", err)
	}
}

// The help is made from the tables: a flag shows its value or its choices, whether it
// is repeatable, and its default.
func TestHelpShowsTheTable(t *testing.T) {
	line := testLine()
	p := line.program
	p.Verbs[0].Summary, p.Verbs[0].Args, p.Verbs[0].Examples = "open a tunnel", "HOST PORT", []string{"culvert dial example.com 22"}
	const want = `    culvert dial example.com 22

culvert dial: open a tunnel

usage: culvert dial [FLAG...] HOST PORT

flags:
  -x, --proxy URL         URL of a proxy; repeatable
  --on-eof wait|close     at end of file: wait|close (default wait)
  -v, --verbose           tell more
  --count N               try N times (default 1)
  --timeout TIME          give up after TIME (default 30s)
  --listen ADDR           accept on ADDR; repeatable
  --insecure              verify nothing

Each flag can be set in the environment as CULVERT_DIAL_NAME
(CULVERT_DIAL_PROXY for --proxy), a repeatable one with a value per line; a
flag that is typed wins. Not so: --insecure.
`
	if got := p.Help(p.Verbs[0]); got != want {
		t.Errorf("got\n%s", got)
	}
}

func TestPrintableKeepsOneLine(t *testing.T) {
	if got := Printable("a\x1b[31m\r\nb\u009bc\x7f"); got != "a [31m  b c " {
		t.Errorf("got %q", got)
	}
}

func TestManKeepsTextFromBeingRequests(t *testing.T) {
	for text, want := range map[string]string{
		".SH x": `\&.SH x`, "'br": `\&'br`, "--proxy": `\-\-proxy`, `a\b`: `a\eb`, "plain": "plain",
	} {
		if got := roff(text); got != want {
			t.Errorf("roff(%q) = %q, want %q", text, got, want)
		}
	}
}
