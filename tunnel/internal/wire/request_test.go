package wire

import (
	"bufio"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestReadRequestAccepts(t *testing.T) {
	for _, tt := range []struct {
		name, in       string
		method, target string
		minor          int
		flaws          string
	}{
		{"CONNECT", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", "CONNECT", "a:1", 1, ""},
		{"absolute-form", "GET http://a/b?c HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "http://a/b?c", 1, ""},
		{"no field", "GET / HTTP/1.1\r\n\r\n", "GET", "/", 1, ""},
		{"HTTP/1.0 without Host", "CONNECT a:1 HTTP/1.0\r\n\r\n", "CONNECT", "a:1", 0, "http10"},
		{"a later minor version is 1.1", "GET / HTTP/1.7\r\n\r\n", "GET", "/", 1, ""},
		{"lone LFs only", "CONNECT a:1 HTTP/1.1\nHost: a:1\n\n", "CONNECT", "a:1", 1, "bare-lf"},
		{"one empty line first", "\r\nGET / HTTP/1.1\r\nA: b\r\n\r\n", "GET", "/", 1, "empty-line-first"},
		{"one empty line first, lone LFs only", "\nGET / HTTP/1.1\n\n", "GET", "/", 1, "bare-lf,empty-line-first"},
		{"a method of 32 bytes", strings.Repeat("M", 32) + " / HTTP/1.1\r\n\r\n", strings.Repeat("M", 32), "/", 1, ""},
		{"lower case method is another one", "get / HTTP/1.1\r\n\r\n", "get", "/", 1, ""},
		{"userinfo is not judged here", "CONNECT u@a:1 HTTP/1.1\r\n\r\n", "CONNECT", "u@a:1", 1, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q, rest, err := readRequest(tt.in + "behind")
			if err != nil {
				t.Fatal(err)
			}
			if q.Method != tt.method || q.Target != tt.target || q.Minor != tt.minor || kinds(q.Flaws) != tt.flaws {
				t.Errorf("got %q %q minor %d flaws %q", q.Method, q.Target, q.Minor, kinds(q.Flaws))
			}
			if string(q.Raw) != tt.in || rest != "behind" {
				t.Errorf("Raw = %q, left in the reader %q", q.Raw, rest)
			}
			if q.AllLF != !strings.Contains(tt.in, "\r\n") {
				t.Errorf("AllLF = %v", q.AllLF)
			}
		})
	}
}

func TestReadRequestRefuses(t *testing.T) {
	const line = "CONNECT a:1 HTTP/1.1\r\n"
	for _, tt := range []struct {
		name, in string
		problem  Problem
		kind     FlawKind
		offset   int
	}{
		{"lone LF in a head of CR LFs", line + "A: b\n\r\n", Malformed, BareLF, 26},
		{"CR LF in a head of lone LFs", "GET / HTTP/1.1\nA: b\r\n\n", Malformed, BareLF, 14},
		{"lone LF as the blank line", line + "\n", Malformed, BareLF, 22},
		{"empty line first with another line end", "\nGET / HTTP/1.1\r\n\r\n", Malformed, BareLF, 0},
		{"two empty lines first", "\r\n\r\nGET / HTTP/1.1\r\n\r\n", Malformed, EmptyLineFirst, 2},
		{"space before colon", line + "Host : a\r\n\r\n", Malformed, SpaceBeforeColon, 26},
		{"tab before colon", line + "Host\t: a\r\n\r\n", Malformed, SpaceBeforeColon, 26},
		{"obs-fold with space", line + "A: b\r\n c\r\n\r\n", Malformed, ObsFold, 28},
		{"obs-fold with tab", line + "A: b\r\n\tc\r\n\r\n", Malformed, ObsFold, 28},
		{"whitespace before the first field", line + " A: b\r\n\r\n", Malformed, ObsFold, 22},
		{"a line of whitespace", line + "A: b\r\n \r\n\r\n", Malformed, ObsFold, 28},
		{"NUL in a value", line + "A: \x00\r\n\r\n", Malformed, NUL, 25},
		{"NUL in a name", line + "A\x00: b\r\n\r\n", Malformed, NUL, 23},
		{"NUL in the target", "CONNECT a\x00:1 HTTP/1.1\r\n\r\n", Malformed, NUL, 9},
		{"NUL in the method", "CON\x00NECT a:1 HTTP/1.1\r\n\r\n", Malformed, NUL, 3},
		{"bare CR in a value", line + "A: b\rc\r\n\r\n", Malformed, BareCR, 26},
		{"two CRs before the LF", line + "A: b\r\r\n\r\n", Malformed, BareCR, 26},
		{"bare CR in a name", line + "A\rB: c\r\n\r\n", Malformed, BareCR, 23},
		{"bare CR for a line end", line + "A: b\rC: d\r\n\r\n", Malformed, BareCR, 26},
		{"bare CR in the target", "CONNECT a\r:1 HTTP/1.1\r\n\r\n", Malformed, BareCR, 9},
		{"bare CR first", "\rGET / HTTP/1.1\r\n\r\n", Malformed, BareCR, 0},
		{"CR CR LF as the blank line", line + "\r\r\n\r\n", Malformed, NoColon, 22},
		{"no colon", line + "Host\r\n\r\n", Malformed, NoColon, 22},
		{"empty name", line + ": a\r\n\r\n", Malformed, EmptyName, 22},
		{"space in a name", line + "A B: c\r\n\r\n", Malformed, BadName, 23},
		{"high byte in a name", line + "A\xc3: c\r\n\r\n", Malformed, BadName, 23},
		{"control character in a value", line + "A: \x1b[m\r\n\r\n", Malformed, ControlChar, 25},
		{"DEL in a value", line + "A: \x7f\r\n\r\n", Malformed, ControlChar, 25},
		{"control character in the target", "CONNECT \x01:1 HTTP/1.1\r\n\r\n", Malformed, ControlChar, 8},
		{"control character in the method", "C\x01 a:1 HTTP/1.1\r\n\r\n", Malformed, ControlChar, 1},
		{"high byte in the target", "CONNECT \xc3\xbc:1 HTTP/1.1\r\n\r\n", Malformed, HighBytes, 8},
		{"high byte in the method", "C\xc3 a:1 HTTP/1.1\r\n\r\n", Malformed, HighBytes, 1},
		{"separator in the method", "CON(ECT a:1 HTTP/1.1\r\n\r\n", Malformed, BadMethod, 3},
		{"a method of 33 bytes", strings.Repeat("M", 33) + " / HTTP/1.1\r\n\r\n", Malformed, BadMethod, 32},
		{"tab for space", "CONNECT\ta:1 HTTP/1.1\r\n\r\n", Malformed, ControlChar, 7},
		{"two spaces before the target", "CONNECT  a:1 HTTP/1.1\r\n\r\n", Malformed, BadStartLine, 0},
		{"two spaces behind the target", "CONNECT a:1  HTTP/1.1\r\n\r\n", Malformed, BadStartLine, 0},
		{"space in the target", "CONNECT a :1 HTTP/1.1\r\n\r\n", Malformed, BadStartLine, 0},
		{"space behind the version", "CONNECT a:1 HTTP/1.1 \r\n\r\n", Malformed, BadStartLine, 0},
		{"no target", "CONNECT HTTP/1.1\r\n\r\n", Malformed, BadStartLine, 0},
		{"empty target", "CONNECT  HTTP/1.1\r\n\r\n", Malformed, BadStartLine, 0},
		{"HTTP/0.9", "GET /\r\n\r\n", Malformed, BadStartLine, 0},
		{"no space at all", "SSH-2.0-OpenSSH_9.9\r\n\r\n", Malformed, BadStartLine, 0},
		{"lower case version", "GET / http/1.1\r\n\r\n", Malformed, BadStartLine, 6},
		{"version without minor", "GET / HTTP/1\r\n\r\n", Malformed, BadStartLine, 6},
		{"version with two digits", "GET / HTTP/1.10\r\n\r\n", Malformed, BadStartLine, 6},
		{"another protocol's version", "GET / RTSP/1.0\r\n\r\n", Malformed, BadStartLine, 6},
		{"HTTP/2.0", "GET / HTTP/2.0\r\n\r\n", BadVersion, NoFlaw, 0},
		{"HTTP/01.01", "GET / HTTP/01.01\r\n\r\n", Malformed, BadStartLine, 6},
		{"HTTP/10.1", "GET / HTTP/10.1\r\n\r\n", Malformed, BadStartLine, 6},
		{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", BadVersion, NoFlaw, 0},
		{"end within the fields", line + "A: b\r\n", Truncated, NoFlaw, 0},
		{"end within the request line", "CON", Truncated, NoFlaw, 0},
		{"end within the blank line", line + "\r", Truncated, NoFlaw, 0},
		{"TLS", "\x16\x03\x01\x02\x00\x01", NotHTTP, NoFlaw, 0},
		{"SOCKS", "\x05\x01\x00", NotHTTP, NoFlaw, 0},
		{"control character first", "\x01", NotHTTP, NoFlaw, 0},
		{"space first", " GET / HTTP/1.1\r\n\r\n", NotHTTP, NoFlaw, 0},
		{"a byte that TLS starts with", "\x16G", NotHTTP, NoFlaw, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := readRequest(tt.in)
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

func TestReadRequestFields(t *testing.T) {
	q, _, err := readRequest("GET / HTTP/1.1\r\nA:b\r\nc: \t d  e \t\r\nEmpty:\r\nTab: a\tb\r\nHigh: \xfc\r\na: :\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []Field{{"A", "b"}, {"c", "d  e"}, {"Empty", ""}, {"Tab", "a\tb"}, {"High", "\xfc"}, {"a", ":"}}
	if !slices.Equal(q.Fields, want) {
		t.Errorf("Fields = %q", q.Fields)
	}
	if q.Line != "GET / HTTP/1.1" {
		t.Errorf("Line = %q", q.Line)
	}
}

func TestReadRequestNamesTheOtherProtocol(t *testing.T) {
	for in, want := range map[string]string{
		"\x16\x03\x01":                     "TLS",
		"\x05\x01\x00":                     "SOCKS",
		"\x04\x01\x00":                     "SOCKS",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": "HTTP/2",
	} {
		_, _, err := readRequest(in)
		if e := headError(t, err); !strings.HasPrefix(e.Detail, want+" was spoken to") {
			t.Errorf("%q: detail %q does not name %s", in, e.Detail, want)
		}
	}
}

func TestReadRequestFieldLineLimit(t *testing.T) {
	head := func(n int) string {
		return "GET / HTTP/1.1\r\n" + strings.Repeat("a:\r\n", n) + "\r\n"
	}
	if q, _, err := readRequest(head(maxFields)); err != nil || len(q.Fields) != maxFields {
		t.Errorf("%d field lines: %v", maxFields, err)
	}
	_, _, err := readRequest(head(maxFields + 1))
	if e := headError(t, err); e.Problem != TooLarge || len(e.Raw) != maxExcerpt {
		t.Errorf("one more: %v, Raw of %d bytes", e, len(e.Raw))
	}
}

func TestCheckHost(t *testing.T) {
	for _, tt := range []struct {
		name, version, fields string
		ok                    bool
	}{
		{"name", "1.1", "Host: a.example\r\n", true},
		{"name and port", "1.1", "hOST: a.example:443\r\n", true},
		{"IPv4", "1.1", "Host: 192.0.2.1:80\r\n", true},
		{"IPv6", "1.1", "Host: [2001:db8::1]\r\n", true},
		{"IPv6 and port", "1.1", "Host: [2001:db8::1]:443\r\n", true},
		{"IPv4 in IPv6", "1.1", "Host: [::ffff:192.0.2.1]:443\r\n", true},
		{"empty", "1.1", "Host:\r\n", true},
		{"empty port", "1.1", "Host: a:\r\n", true},
		{"underscore", "1.1", "Host: a_b\r\n", true},
		{"percent-encoded", "1.1", "Host: a%2Fb\r\n", true},
		{"port 65535", "1.1", "Host: a:65535\r\n", true},
		{"missing in 1.0", "1.0", "", true},
		{"missing in 1.1", "1.1", "", false},
		{"duplicated", "1.1", "Host: a\r\nHost: a\r\n", false},
		{"duplicated in 1.0", "1.0", "Host: a\r\nHost: a\r\n", false},
		{"userinfo", "1.1", "Host: u@a\r\n", false},
		{"path", "1.1", "Host: a/b\r\n", false},
		{"query", "1.1", "Host: a?b\r\n", false},
		{"fragment", "1.1", "Host: a#b\r\n", false},
		{"backslash", "1.1", "Host: a\\b\r\n", false},
		{"space", "1.1", "Host: a b\r\n", false},
		{"high byte", "1.1", "Host: \xc3\xbc\r\n", false},
		{"port in letters", "1.1", "Host: a:http\r\n", false},
		{"signed port", "1.1", "Host: a:+80\r\n", false},
		{"port 0", "1.1", "Host: a:0\r\n", false},
		{"port 65536", "1.1", "Host: a:65536\r\n", false},
		{"port that wraps to 443", "1.1", "Host: a:4294967739\r\n", false},
		{"port that wraps 64 bits", "1.1", "Host: a:18446744073709552059\r\n", false},
		{"port alone", "1.1", "Host: :80\r\n", false},
		{"two ports", "1.1", "Host: a:80:80\r\n", false},
		{"IPv6 without brackets", "1.1", "Host: 2001:db8::1\r\n", false},
		{"name in brackets", "1.1", "Host: [a]\r\n", false},
		{"IPv4 in brackets", "1.1", "Host: [192.0.2.1]\r\n", false},
		{"IPv6 zone", "1.1", "Host: [fe80::1%25eth0]\r\n", false},
		{"open bracket", "1.1", "Host: [::1\r\n", false},
		{"text behind the bracket", "1.1", "Host: [::1]a\r\n", false},
		{"percent without digits", "1.1", "Host: a%2\r\n", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q, _, err := readRequest("CONNECT a:443 HTTP/" + tt.version + "\r\n" + tt.fields + "\r\n")
			if err != nil {
				t.Fatal(err)
			}
			err = q.CheckHost()
			if tt.ok != (err == nil) {
				t.Fatalf("CheckHost = %v", err)
			}
			if err != nil && headError(t, err).Problem != Malformed {
				t.Errorf("problem %v, want malformed", err)
			}
		})
	}
}

func BenchmarkReadRequest(b *testing.B) {
	const head = "CONNECT git.example.com:443 HTTP/1.1\r\n" +
		"Host: git.example.com:443\r\n" +
		"User-Agent: curl/8.14.1\r\n" +
		"Proxy-Connection: Keep-Alive\r\n" +
		"Proxy-Authorization: Basic dXNlcjpwYXNzd29yZC1vZi1zb21lLWxlbmd0aA==\r\n\r\n"
	source := strings.NewReader(head)
	br := bufio.NewReader(source)
	b.ReportAllocs()
	b.SetBytes(int64(len(head)))
	for b.Loop() {
		source.Reset(head)
		br.Reset(source)
		if _, err := ReadRequest(br, 0); err != nil && err != io.EOF {
			b.Fatal(err)
		}
	}
}
