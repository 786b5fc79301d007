package proxy

import (
	"net"
	"strings"
	"testing"

	"culvert/tunnel"
)

// RFC 9112, section 3.2.1: the origin gets path and query as the client sent them.
func TestPlainTargetIsByteExact(t *testing.T) {
	p := newPlainTest(t)
	for sent, want := range map[string]string{
		"":                              "/",
		"/":                             "/",
		"?a=b":                          "/?a=b",
		"/?":                            "/?",
		"/a?":                           "/a?",
		"/a%2fb%2F%7e~":                 "/a%2fb%2F%7e~",
		"/%zz%":                         "/%zz%",
		"/a;b=c/../d/./e":               "/a;b=c/../d/./e",
		"//double":                      "//double",
		"//double//?x=//y":              "//double//?x=//y",
		"//double?":                     "//double?",
		"//a%2Fb":                       "//a%2Fb",
		"//a|b?c":                       "//a|b?c",
		"//%zz":                         "//%zz",
		"//a\"b?":                       "//a\"b?",
		"/|^`{}\\\"<>[]":                "/|^`{}\\\"<>[]",
		"/?|^`{}\\\"<>[]%zz":            "/?|^`{}\\\"<>[]%zz",
		"/http://other/":                "/http://other/",
		"/*":                            "/*",
		"/a:b@c":                        "/a:b@c",
		"/" + strings.Repeat("x", 8000): "/" + strings.Repeat("x", 8000),
	} {
		line, _, _ := strings.Cut(p.forwarded("GET http://ORIGIN"+sent+" HTTP/1.1\r\nHost: x\r\n\r\n"), "\r\n")
		if line != "GET "+want+" HTTP/1.1" {
			t.Errorf("%.50q became %.80q", sent, line)
		}
	}
}

// RFC 9112, section 3.2.4.
func TestPlainOptionsWithoutPathIsForTheServer(t *testing.T) {
	p := newPlainTest(t)
	for sent, want := range map[string]string{"": "*", "/": "/", "?a": "/?a"} {
		line, _, _ := strings.Cut(p.forwarded("OPTIONS http://ORIGIN"+sent+" HTTP/1.1\r\nHost: x\r\n\r\n"), "\r\n")
		if line != "OPTIONS "+want+" HTTP/1.1" {
			t.Errorf("%q became %q", sent, line)
		}
	}
}

// RFC 9112, section 3.2.2.
func TestPlainTargetReplacesHost(t *testing.T) {
	newPlainTest(t).wantForwarded("GET http://ORIGIN/a HTTP/1.1\r\nX-A: b\r\nHost: other.example:81\r\n\r\n",
		"GET /a HTTP/1.1\r\nHost: ORIGIN\r\nX-A: b\r\nVia: 1.1 p\r\n\r\n")
}

func TestPlainHostLeavesPort80Out(t *testing.T) {
	for authority, want := range map[string]string{
		"a.example": "a.example", "a.example:80": "a.example", "A.Example.:80": "a.example", "a.example:81": "a.example:81",
		"[::1]": "[::1]", "[::1]:80": "[::1]", "[::1]:81": "[::1]:81", "127.0.0.1:80": "127.0.0.1",
	} {
		target, err := tunnel.ParseAuthorityDefaultPort(authority, 80)
		if err != nil {
			t.Fatal(err)
		}
		if got := target.HostHeader(80); got != want {
			t.Errorf("the Host for %q is %q, want %q", authority, got, want)
		}
	}
}

func TestPlainIPv6Literal(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("there is no IPv6 loopback here: ", err)
	}
	l.Close()
	p := newPlainTest(t)
	p.origin = startOriginOn(t, "[::1]:0")
	p.wantForwarded(simpleGet, "GET / HTTP/1.1\r\nHost: ORIGIN\r\nVia: 1.1 p\r\n\r\n")
}

func TestPlainBadTargets(t *testing.T) {
	p := newPlainTest(t)
	for _, tt := range []struct {
		line   string
		status int
		words  string // in the answer
	}{
		{"GET / HTTP/1.1", 400, "this is a proxy"},
		{"GET /http://ORIGIN/ HTTP/1.1", 400, "this is a proxy"},
		{"GET /?next=https://ORIGIN/ HTTP/1.1", 400, "this is a proxy"},
		{"OPTIONS * HTTP/1.1", 400, "this is a proxy"},
		{"GET https://ORIGIN/ HTTP/1.1", 501, "CONNECT"},
		{"GET HTTPS://ORIGIN/ HTTP/1.1", 501, "CONNECT"},
		{"GET wss://ORIGIN/ HTTP/1.1", 501, "CONNECT"},
		{"GET ftp://ORIGIN/ HTTP/1.1", 501, "http only"},
		{"GET file:///etc/passwd HTTP/1.1", 501, "http only"},
		{"GET ORIGIN HTTP/1.1", 400, "absolute URL"},
		{"GET http:ORIGIN HTTP/1.1", 400, "absolute URL"},
		{"GET http:/ORIGIN/ HTTP/1.1", 400, "absolute URL"},
		{"GET http:///path HTTP/1.1", 400, ""},
		{"GET http:// HTTP/1.1", 400, ""},
		{"GET http://user@ORIGIN/ HTTP/1.1", 400, ""},
		{"GET http://user:secret@ORIGIN/ HTTP/1.1", 400, ""},
		{"GET http://ORIGIN@other.example/ HTTP/1.1", 400, ""},
		{"GET http://other.example\\@ORIGIN/ HTTP/1.1", 400, ""},
		{"GET http://ORIGIN:80/ HTTP/1.1", 400, ""},
		{"GET http://127.0.0.1:/ HTTP/1.1", 400, ""},
		{"GET http://127.0.0.1:0/ HTTP/1.1", 400, ""},
		{"GET http://127.0.0.1:65536/ HTTP/1.1", 400, ""},
		{"GET http://127.0.0.1:4294967376/ HTTP/1.1", 400, ""},
		{"GET http://0x7f000001/ HTTP/1.1", 400, ""},
		{"GET http://127.1/ HTTP/1.1", 400, ""},
		{"GET http://[::1/ HTTP/1.1", 400, ""},
		{"GET http://[a.example]/ HTTP/1.1", 400, ""},
		{"GET http://[fe80::1%25lo]/ HTTP/1.1", 400, ""},
		{"GET http://ORIGIN/#fragment HTTP/1.1", 400, "fragment"},
		{"GET http://ORIGIN#fragment HTTP/1.1", 400, "fragment"},
	} {
		a := p.refused(tt.line+"\r\nHost: x\r\n\r\n", tt.status, "http_request_error")
		if !strings.Contains(a.Body, tt.words) || strings.Contains(a.Body, "secret") {
			t.Errorf("%q is answered %q, want a word about %q", tt.line, a.Body, tt.words)
		}
	}
	p.origin.untouched()
}

func TestPlainHostMustBeThereOnceAndValid(t *testing.T) {
	p := newPlainTest(t)
	for _, fields := range []string{"", "Host: a\r\nHost: a\r\n", "Host: a b\r\n", "Host: a/b\r\n", "Host: a@b\r\n", "Host: a:x\r\n"} {
		p.refused("GET http://ORIGIN/ HTTP/1.1\r\n"+fields+"\r\n", 400, "http_request_error")
	}
	p.origin.untouched()
}

func TestPlainHTTP10NeedsNoHost(t *testing.T) {
	newPlainTest(t).wantForwarded("GET http://ORIGIN/ HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: ORIGIN\r\nVia: 1.0 p\r\n\r\n")
}
