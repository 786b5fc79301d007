package wire

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestReadReplyTolerates(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		code     int
		reason   string
		fields   []Field
		flaws    string
	}{
		{"plain", "HTTP/1.1 200 Connection established\r\n\r\n", 200, "Connection established", nil, ""},
		{"fields", "HTTP/1.1 407 No\r\nA: b\r\nA:c\r\n\r\n", 407, "No", []Field{{"A", "b"}, {"A", "c"}}, ""},
		{"empty reason", "HTTP/1.1 200 \r\n\r\n", 200, "", nil, ""},
		{"no reason", "HTTP/1.1 200\r\n\r\n", 200, "", nil, "no-reason"},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\n", 200, "OK", nil, "http10"},
		{"later minor version", "HTTP/1.2 200 OK\r\n\r\n", 200, "OK", nil, ""},
		{"interim", "HTTP/1.1 100 Continue\r\n\r\n", 100, "Continue", nil, ""},
		{"code 999", "HTTP/1.1 999 No\r\n\r\n", 999, "No", nil, ""},
		{"lone LFs", "HTTP/1.1 200 OK\nA: b\n\n", 200, "OK", []Field{{"A", "b"}}, "bare-lf"},
		{"one lone LF", "HTTP/1.1 200 OK\nA: b\r\n\r\n", 200, "OK", []Field{{"A", "b"}}, "bare-lf"},
		{"obs-fold", "HTTP/1.1 200 OK\r\nA: b \r\n \tc\r\n\td\r\nE: f\r\n\r\n", 200, "OK", []Field{{"A", "b c d"}, {"E", "f"}}, "obs-fold"},
		{"obs-fold of an empty value", "HTTP/1.1 200 OK\r\nA:\r\n b\r\n \r\n\r\n", 200, "OK", []Field{{"A", "b"}}, "obs-fold"},
		{"obs-fold before the first field", "HTTP/1.1 200 OK\r\n a: b\r\nA: b\r\n\r\n", 200, "OK", []Field{{"A", "b"}}, "obs-fold"},
		{"obs-fold of a line without name", "HTTP/1.1 200 OK\r\nA: b\r\nc\r\n d\r\n\r\n", 200, "OK", []Field{{"A", "b"}}, "no-colon,obs-fold"},
		{"space before colon", "HTTP/1.1 200 OK\r\nA \t: b\r\n\r\n", 200, "OK", []Field{{"A", "b"}}, "space-before-colon"},
		{"no colon", "HTTP/1.1 200 OK\r\nfoo\r\nA: b\r\n\r\n", 200, "OK", []Field{{"A", "b"}}, "no-colon"},
		{"empty name", "HTTP/1.1 200 OK\r\n: x\r\nA: b\r\n\r\n", 200, "OK", []Field{{"A", "b"}}, "empty-name"},
		{"bad name", "HTTP/1.1 200 OK\r\nA b: c\r\n\r\n", 200, "OK", []Field{{"A b", "c"}}, "bad-name"},
		{"bare CR in a value", "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", 200, "OK", []Field{{"A", "b c"}}, "bare-cr"},
		{"bare CR in the reason", "HTTP/1.1 200 O\rK\r\n\r\n", 200, "O K", nil, "bare-cr"},
		{"control character in a value", "HTTP/1.1 200 OK\r\nA: \x1b[m\r\n\r\n", 200, "OK", []Field{{"A", "\x1b[m"}}, "control-char"},
		{"control character in the reason", "HTTP/1.1 200 \x1b[m\r\n\r\n", 200, "\x1b[m", nil, "control-char"},
		{"high bytes", "HTTP/1.1 200 \xfc\r\nA: \xfc\r\n\r\n", 200, "\xfc", []Field{{"A", "\xfc"}}, ""},
		{"spaces before the code", "HTTP/1.1  200 OK\r\n\r\n", 200, "OK", nil, "extra-space"},
		{"tab before the code", "HTTP/1.1\t200 OK\r\n\r\n", 200, "OK", nil, "extra-space"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, rest, err := readReply(tt.in + "\x00SSH-2.0\r\n\r\n")
			if err != nil {
				t.Fatal(err)
			}
			if p.Code != tt.code || p.Reason != tt.reason || !slices.Equal(p.Fields, tt.fields) || kinds(p.Flaws) != tt.flaws {
				t.Errorf("got %d %q %q, flaws %q", p.Code, p.Reason, p.Fields, kinds(p.Flaws))
			}
			if string(p.Raw) != tt.in || rest != "\x00SSH-2.0\r\n\r\n" {
				t.Errorf("Raw = %q, left in the reader %q", p.Raw, rest)
			}
			if wantMinor := 1 - len(flawsOf(p, HTTP10)); p.Minor != wantMinor {
				t.Errorf("Minor = %d, want %d", p.Minor, wantMinor)
			}
		})
	}
}

// flawsOf returns the flaws of one kind; there is one at most.
func flawsOf(p *Reply, kind FlawKind) (flaws []Flaw) {
	for _, flaw := range p.Flaws {
		if flaw.Kind == kind {
			flaws = append(flaws, flaw)
		}
	}
	return flaws
}

func TestReadReplyRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		problem  Problem
		kind     FlawKind
		offset   int
	}{
		{"no blank line before the end", "HTTP/1.1 200 OK\r\nA: b\r\n", Truncated, NoFlaw, 0},
		{"end within the status line", "HTTP/1.1 2", Truncated, NoFlaw, 0},
		{"NUL in the reason", "HTTP/1.1 200 \x00\r\n\r\n", Malformed, NUL, 13},
		{"NUL in a value", "HTTP/1.1 200 OK\r\nA: \x00\r\n\r\n", Malformed, NUL, 20},
		{"ssh", "SSH-2.0-OpenSSH_10.0\r\n", NotHTTP, NoFlaw, 0},
		{"HTML", "<!DOCTYPE html>", NotHTTP, NoFlaw, 0},
		{"HTTP in lower case", "http/1.1 200 OK\r\n\r\n", NotHTTP, NoFlaw, 0},
		{"nearly HTTP", "HTTQ", NotHTTP, NoFlaw, 0},
		{"empty line first", "\r\nHTTP/1.1 200 OK\r\n\r\n", NotHTTP, NoFlaw, 0},
		{"TLS alert", "\x15\x03\x01\x00\x02\x02\x0a", NotHTTP, NoFlaw, 0},
		{"a byte that a TLS alert starts with", "\x15TTP/1.1 200 OK\r\n\r\n", NotHTTP, NoFlaw, 0},
		{"NUL first", "\x00", NotHTTP, NoFlaw, 0},
		{"no version", "HTTP/ 200 OK\r\n\r\n", Malformed, BadStartLine, 0},
		{"version without minor", "HTTP/1 200 OK\r\n\r\n", Malformed, BadStartLine, 0},
		{"HTTP/2", "HTTP/2 200\r\n\r\n", BadVersion, NoFlaw, 0},
		{"HTTP/0.9", "HTTP/0.9 200 OK\r\n\r\n", BadVersion, NoFlaw, 0},
		{"no status", "HTTP/1.1\r\n\r\n", Malformed, BadStatus, 8},
		{"status in letters", "HTTP/1.1 OK\r\n\r\n", Malformed, BadStatus, 9},
		{"status of two digits", "HTTP/1.1 99 OK\r\n\r\n", Malformed, BadStatus, 9},
		{"status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", Malformed, BadStatus, 9},
		{"status below 100", "HTTP/1.1 099 OK\r\n\r\n", Malformed, BadStatus, 9},
		{"status 000", "HTTP/1.1 000 OK\r\n\r\n", Malformed, BadStatus, 9},
		{"signed status", "HTTP/1.1 -200 OK\r\n\r\n", Malformed, BadStatus, 9},
		{"text glued to the status", "HTTP/1.1 200OK\r\n\r\n", Malformed, BadStatus, 9},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := readReply(tt.in)
			e := headError(t, err)
			if e.Problem != tt.problem || e.Flaw != (Flaw{tt.kind, tt.offset}) {
				t.Errorf("got %v, flaw %q at %d; want %v, %q at %d",
					e.Problem, e.Flaw.Kind, e.Flaw.Offset, tt.problem, tt.kind, tt.offset)
			}
			if e.Detail == "" || !strings.HasPrefix(tt.in, string(e.Raw)) {
				t.Errorf("Detail %q, Raw %q", e.Detail, e.Raw)
			}
		})
	}
}

func TestReadReplyFlawOffsets(t *testing.T) {
	const in = "HTTP/1.0\t200\nA : b\n c\rd\nE\x01: f\n: g\nh\nI: \x02\r\n\n"
	p, _, err := readReply(in)
	if err != nil {
		t.Fatal(err)
	}
	for kind, offset := range map[FlawKind]int{
		HTTP10:           strings.Index(in, "0\t"),
		ExtraSpace:       strings.Index(in, "\t"),
		NoReason:         strings.Index(in, "\n"),
		BareLF:           strings.Index(in, "\n"),
		SpaceBeforeColon: strings.Index(in, " :"),
		ObsFold:          strings.Index(in, " c"),
		BareCR:           strings.Index(in, "\rd"),
		BadName:          strings.Index(in, "\x01"),
		EmptyName:        strings.Index(in, ": g"),
		NoColon:          strings.Index(in, "h\n"),
		ControlChar:      strings.Index(in, "\x02"),
	} {
		if flaw, ok := p.Flaw(kind); !ok || flaw.Offset != offset {
			t.Errorf("%v: %v at %d, want %d", kind, ok, flaw.Offset, offset)
		}
	}
	if _, ok := p.Flaw(EmptyLineFirst); ok || len(p.Flaws) != 11 || p.AllLF {
		t.Errorf("flaws %q, AllLF %v", kinds(p.Flaws), p.AllLF)
	}
}

func TestReadReplyKeepsTheFirstFlawOfEachKind(t *testing.T) {
	p, _, err := readReply("HTTP/1.1 200 OK\r\n" + strings.Repeat("x\r\n y\r\n", 1000) + "\r\n")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(p.Flaws, []Flaw{{NoColon, 17}, {ObsFold, 20}}) {
		t.Errorf("Flaws = %v", p.Flaws)
	}
}

func TestReadReplyLargeHeads(t *testing.T) {
	var many strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&many, "X-%d: %d\r\n", i, i)
	}
	long := strings.Repeat("v", 60<<10)
	for _, tt := range []struct {
		name, fields string
		check        func(p *Reply) bool
	}{
		{"hundreds of field lines", many.String(), func(p *Reply) bool { return len(p.Fields) == 2000 && p.Get("x-1999") == "1999" }},
		{"a line of 60 KiB", "A: " + long + "\r\n", func(p *Reply) bool { return p.Get("A") == long }},
		{"thousands of folds", "A: b\r\n" + strings.Repeat(" c\r\n", 10000), func(p *Reply) bool { return p.Get("A") == "b"+strings.Repeat(" c", 10000) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, _, err := readReply("HTTP/1.1 200 OK\r\n" + tt.fields + "\r\n")
			if err != nil {
				t.Fatal(err)
			}
			if !tt.check(p) {
				t.Errorf("%d fields, the first %.20q", len(p.Fields), p.Fields[0])
			}
		})
	}
}
