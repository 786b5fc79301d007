package args

import (
	"errors"
	"slices"
	"testing"
)

var testFlags = []Flag{
	{Names: []string{"proxy", "x"}, Value: "URL", Repeat: true, Env: true},
	{Names: []string{"on-eof"}, Value: "wait|close", Env: true},
	{Names: []string{"verbose", "v"}, Env: true},
	{Names: []string{"count"}, Value: "N", Env: true, Check: func(s string) error {
		if s != "1" {
			return errors.New("one is enough")
		}
		return nil
	}},
	{Names: []string{"insecure"}},
}

func TestTake(t *testing.T) {
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
			settings, rest, err := Take(testFlags, tt.words, tt.verbNext)
			if err != nil || !slices.Equal(settings, tt.settings) || !slices.Equal(rest, tt.rest) {
				t.Errorf("got %q, %q, %v", settings, rest, err)
			}
		})
	}
}

func TestTakeRefuses(t *testing.T) {
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
		{"not of the type", []string{"--count=2"}, `--count: bad value "2"`, "one is enough"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := Take(testFlags, tt.words, false)
			var e *Error
			if !errors.As(err, &e) || e.Message != tt.message || e.Hint != tt.hint {
				t.Errorf("got %+v", err)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	p := Program{Name: "culvert"}
	v := Verb{Name: "dial", Flags: testFlags}
	for _, tt := range []struct {
		name     string
		typed    []Setting
		variable string
		value    string
		want     []Setting
		message  string
	}{
		{"unset", nil, "CULVERT_DIAL_PROXY", "", nil, ""},
		{"one value", nil, "CULVERT_DIAL_ON_EOF", "wait", []Setting{{"on-eof", "wait", "CULVERT_DIAL_ON_EOF"}}, ""},
		{"a value per line", nil, "CULVERT_DIAL_PROXY", "a,b\n\nc\n", []Setting{{"proxy", "a,b", "CULVERT_DIAL_PROXY"}, {"proxy", "c", "CULVERT_DIAL_PROXY"}}, ""},
		{"typed wins", []Setting{{"proxy", "p", "-x"}}, "CULVERT_DIAL_PROXY", "a", nil, ""},
		{"another verb's", nil, "CULVERT_PROBE_PROXY", "a", nil, ""},
		{"an alias has none", nil, "CULVERT_DIAL_X", "a", nil, ""},
		{"must be typed", nil, "CULVERT_DIAL_INSECURE", "1", nil, ""},
		{"bad value", nil, "CULVERT_DIAL_COUNT", "2", nil, `CULVERT_DIAL_COUNT: bad value "2"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := p.Environment(v, tt.typed, func(name string) string {
				if name == tt.variable {
					return tt.value
				}
				return ""
			})
			message := ""
			if err != nil {
				message = err.Error()
			}
			if !slices.Equal(got, tt.want) || message != tt.message {
				t.Errorf("got %q, %q", got, message)
			}
		})
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
