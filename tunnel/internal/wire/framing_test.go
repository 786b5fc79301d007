package wire

import (
	"bufio"
	"strings"
	"testing"
)

func TestFraming(t *testing.T) {
	none, chunked := Framing{Length: -1}, Framing{Length: -1, Chunked: true}
	const noProblem = Problem(0)
	for _, tt := range []struct {
		name, version, fields string
		want                  Framing
		problem               Problem
	}{
		{"none", "1.1", "", none, noProblem},
		{"length", "1.1", "Content-Length: 5\r\n", Framing{Length: 5}, noProblem},
		{"length 0", "1.1", "Content-Length: 0\r\n", Framing{}, noProblem},
		{"largest length", "1.1", "Content-Length: 9223372036854775807\r\n", Framing{Length: 1<<63 - 1}, noProblem},
		{"identical lengths", "1.1", "Content-Length: 5\r\ncontent-length: 5\r\n", Framing{Length: 5}, noProblem},
		{"identical lengths in a list", "1.1", "Content-Length: 5, 5\r\n", Framing{Length: 5}, noProblem},
		{"chunked", "1.1", "Transfer-Encoding: chunked\r\n", chunked, noProblem},
		{"chunked in capitals", "1.1", "Transfer-Encoding: Chunked\r\n", chunked, noProblem},
		{"differing lengths", "1.1", "Content-Length: 5\r\nContent-Length: 6\r\n", none, Malformed},
		{"differing lengths in a list", "1.1", "Content-Length: 5, 6\r\n", none, Malformed},
		{"a good length and a bad one", "1.1", "Content-Length: 5\r\nContent-Length: x\r\n", none, Malformed},
		{"empty length", "1.1", "Content-Length:\r\n", none, Malformed},
		{"empty list element", "1.1", "Content-Length: 5,\r\n", none, Malformed},
		{"signed length", "1.1", "Content-Length: +5\r\n", none, Malformed},
		{"negative length", "1.1", "Content-Length: -5\r\n", none, Malformed},
		{"hexadecimal length", "1.1", "Content-Length: 0x5\r\n", none, Malformed},
		{"length with underscore", "1.1", "Content-Length: 1_0\r\n", none, Malformed},
		{"length in two parts", "1.1", "Content-Length: 5 5\r\n", none, Malformed},
		{"length of 2^63", "1.1", "Content-Length: 9223372036854775808\r\n", none, Malformed},
		{"length of 2^64 + 5", "1.1", "Content-Length: 18446744073709551621\r\n", none, Malformed},
		{"length and chunked", "1.1", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", none, Malformed},
		{"length and identity", "1.1", "Content-Length: 5\r\nTransfer-Encoding: identity\r\n", none, Malformed},
		{"length and empty coding", "1.1", "Content-Length: 5\r\nTransfer-Encoding:\r\n", none, Malformed},
		{"chunked in 1.0", "1.0", "Transfer-Encoding: chunked\r\n", none, Malformed},
		{"empty coding", "1.1", "Transfer-Encoding:\r\n", none, Malformed},
		{"chunked twice", "1.1", "Transfer-Encoding: chunked, chunked\r\n", none, Malformed},
		{"chunked in two fields", "1.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", none, Malformed},
		{"chunked with an empty element", "1.1", "Transfer-Encoding: ,chunked\r\n", none, Malformed},
		{"chunked with a parameter", "1.1", "Transfer-Encoding: chunked;a=b\r\n", none, Malformed},
		{"gzip", "1.1", "Transfer-Encoding: gzip\r\n", none, Unsupported},
		{"gzip then chunked", "1.1", "Transfer-Encoding: gzip, chunked\r\n", none, Unsupported},
		{"chunked then gzip", "1.1", "Transfer-Encoding: chunked, gzip\r\n", none, Unsupported},
		{"identity", "1.1", "Transfer-Encoding: identity\r\n", none, Unsupported},
		{"nearly chunked", "1.1", "Transfer-Encoding: xchunked\r\n", none, Unsupported},
		{"quoted chunked", "1.1", "Transfer-Encoding: \"chunked\"\r\n", none, Unsupported},
		{"chunked with a Kelvin sign", "1.1", "Transfer-Encoding: chun\u212aed\r\n", none, Unsupported},
	} {
		check := func(t *testing.T, got Framing, err error, problem Problem) {
			if problem == noProblem {
				if err != nil || got != tt.want {
					t.Errorf("got %+v, %v; want %+v", got, err, tt.want)
				}
			} else if e := headError(t, err); e.Problem != problem || e.Detail == "" {
				t.Errorf("got %v, want problem %v", e, problem)
			}
		}
		t.Run("request/"+tt.name, func(t *testing.T) {
			problem := tt.problem
			if problem == Unsupported && tt.name != "gzip then chunked" {
				problem = Malformed // it is not known where the content ends
			}
			q, _, err := readRequest("POST http://a/ HTTP/" + tt.version + "\r\n" + tt.fields + "\r\n")
			if err != nil {
				t.Fatal(err)
			}
			got, err := q.Framing()
			check(t, got, err, problem)
		})
		t.Run("reply/"+tt.name, func(t *testing.T) {
			p, _, err := readReply("HTTP/" + tt.version + " 407 No\r\n" + tt.fields + "\r\n")
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.Framing()
			check(t, got, err, tt.problem)
		})
	}
}

// A field whose name the tolerant reader repaired counts for the framing.
func TestReplyFramingOfRepairedField(t *testing.T) {
	p, _, err := readReply("HTTP/1.1 407 No\r\nContent-Length : 5\r\nTransfer-Encoding:\r\n chunked\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Framing()
	if e := headError(t, err); e.Problem != Malformed {
		t.Errorf("got %v, want both fields seen", e)
	}
}

// A reply's content ends as RFC 9112, section 6.3 says, whatever its fields claim.
func TestContentFraming(t *testing.T) {
	for _, tt := range []struct {
		method, head string
		want         Framing
	}{
		{"GET", "200 OK\r\nContent-Length: 5\r\n", Framing{Length: 5}},
		{"GET", "200 OK\r\n", Framing{Length: -1, UntilClose: true}},
		{"GET", "200 OK\r\nTransfer-Encoding: chunked\r\n", Framing{Length: -1, Chunked: true}},
		{"HEAD", "200 OK\r\nContent-Length: 5\r\n", Framing{}},
		{"HEAD", "200 OK\r\nTransfer-Encoding: chunked\r\n", Framing{}},
		{"GET", "204 None\r\nContent-Length: 5\r\n", Framing{}},
		{"GET", "304 Same\r\nTransfer-Encoding: chunked\r\n", Framing{}},
		{"GET", "100 Continue\r\nContent-Length: 5\r\n", Framing{}},
		{"GET", "101 Switch\r\n", Framing{}},
	} {
		p, err := ReadReply(bufio.NewReader(strings.NewReader("HTTP/1.1 "+tt.head+"\r\n")), 0)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.ContentFraming(tt.method); err != nil || got != tt.want {
			t.Errorf("%s, %q: %+v, %v, want %+v", tt.method, tt.head, got, err, tt.want)
		}
	}
}

// A line that has to be repaired never frames the content: readers repair in different
// ways. Other lines are repaired.
func TestDoubtfulFraming(t *testing.T) {
	for line, doubtful := range map[string]bool{
		"Content-Length : 5":              true,
		"content-length\t: 5":             true,
		"Content-Length 5":                true,
		"Transfer-Encoding chunked":       true,
		"Transfer-Encoding":               true,
		"Transfer-Encoding: chunked\rx":   true,
		"Transfer-Encoding: \x0bchunked":  true,
		"Transfer\x01-Encoding: chunked":  true,
		"Transfer-Encoding\r: chunked":    true,
		"Transfer-Encoding:\r\n chunked":  true,
		"Content-Length: 5\r\n ":          true,
		"X: 1\r\n Content-Length: 5":      true,
		"X : 5":                           false,
		"X-Content-Length : 5":            false,
		"charset=utf-8":                   false,
		"Content-Length-Of-Something : 5": false,
		"Secured by Content-Length : 5":   false,
		"Content-Length: 5":               false,
		"Transfer-Encoding: chunked":      false,
	} {
		p, err := ReadReply(bufio.NewReader(strings.NewReader("HTTP/1.1 200 OK\r\n"+line+"\r\n\r\n")), 0)
		if err != nil {
			t.Fatal(err)
		}
		_, noted := p.Flaw(DoubtfulFraming)
		_, err = p.Framing()
		if noted != doubtful || (err != nil) != doubtful {
			t.Errorf("%q: noted %v, %v; want %v", line, noted, err, doubtful)
		}
	}
}
