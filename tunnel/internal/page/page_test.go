package page_test

import (
	"bufio"
	"fmt"
	"strings"
	"testing"

	"culvert/tunnel"
	"culvert/tunnel/internal/page"
	"culvert/tunnel/internal/wire"
)

// readReply makes a reply of a status line and fields.
func readReply(t *testing.T, line, fields string) *wire.Reply {
	t.Helper()
	reply, err := wire.ReadReply(bufio.NewReader(strings.NewReader("HTTP/1.1 "+line+"\r\n"+fields+"\r\n")), wire.DefaultMaxHead)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

// Every cause's error token is one that a tunnel.Error can have.
func TestCausesAreErrorTypes(t *testing.T) {
	for _, c := range page.Causes() {
		if _, ok := tunnel.ErrorTypeFromToken(c.Error); !ok && c.Error != "" {
			t.Errorf("%q (%s) is no error type", c.Error, c.Words)
		}
	}
}

func TestSquidCause(t *testing.T) {
	for field, want := range map[string]page.Cause{
		"ERR_CONNECT_FAIL 111":  {Error: "connection_refused", Words: "connection refused"},
		"ERR_CONNECT_FAIL 4711": {Error: "destination_unavailable", Words: page.ConnectionFailed},
		" ERR_ACCESS_DENIED 0 ": {Words: "its rules do not allow this"},
		"ERR_NEW 0":             {},
		"":                      {},
	} {
		if got, ok := page.SquidCause(field); got != want || ok != (want != page.Cause{}) {
			t.Errorf("%q: %+v, %v; want %+v", field, got, ok, want)
		}
	}
}

func TestCause(t *testing.T) {
	for _, tt := range []struct {
		name, line, content string
		want                page.Cause
	}{
		{"none", "403 Forbidden", "", page.Cause{}},
		{"its own words", "403 Forbidden", "<p>Ask  Bob\x1b", page.Cause{Words: "Ask Bob\x1b"}},
		{"known words", "502 Proxy Error", "<p>Reason: DNS lookup failure for: a", page.Cause{Error: "dns_error", Words: "the name cannot be resolved"}},
		{"known words, of another status", "500 Error", "<p>Reason: DNS lookup failure for: a", page.Cause{Words: "Reason: DNS lookup failure for: a"}},
		{"known words, in the reason", "500 Tinyproxy was unable to connect", "", page.Cause{Error: "destination_unavailable", Words: page.ConnectionFailed}},
		{"known words that are clear", "503 Service Unavailable", "No server is available to handle this request.", page.Cause{Error: "proxy_internal_error", Words: "No server is available to handle this request."}},
		{"any status", "404 Network Error", "(tcp_error) refused", page.Cause{Error: "connection_refused", Words: "connection refused"}},
		{"a block page", "502 Bad", "<h1>URL Blocked!</h1>", page.Cause{Error: "http_request_denied", Words: "URL Blocked!"}},
		{"a block page by a redirect", "302 Found", "<h1>URL Blocked!</h1>", page.Cause{Words: "URL Blocked!"}},
	} {
		if got := page.Content(tt.content).Cause(readReply(t, tt.line, "Content-Type: text/html\r\n")); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestBlockAndLoginPages(t *testing.T) {
	for _, tt := range []struct {
		name, page, title string
		block, login      bool
	}{
		{"title", "<TITLE>Web  Page\nBlocked!</TITLE>", "Web Page Blocked!", true, false},
		{"heading", "<title>A &amp; B</title><h1 class=x>url blocked.</h1>", "A & B", true, false},
		{"all the words", "<title>Zscaler</title><p>You are not allowed to go there", "Zscaler", true, false},
		{"not all the words", "<title>Zscaler</title><p>The server is down", "Zscaler", false, false},
		{"login", `<form><input name=p type="password">`, "", false, true},
		{"a field of that name", `<form><input type=text name=password>`, "", false, false},
		{"a longer element", "<titles>web page blocked</titles>", "", false, false},
	} {
		c := page.Content(tt.page)
		if c.Title() != tt.title || c.IsBlockPage() != tt.block || c.IsLoginPage() != tt.login {
			t.Errorf("%s: title %q, block page %v, login page %v", tt.name, c.Title(), c.IsBlockPage(), c.IsLoginPage())
		}
	}
}

func TestInsteadOfTunnel(t *testing.T) {
	for _, tt := range []struct{ name, fields, content, want string }{
		{"nothing", "", "", ""},
		{"blanks", "", " \r\n", ""},
		{"a page", "", "\n<!DOCTYPE html>", "an HTML page"},
		{"the start of one", "", "<html", "an HTML page"},
		{"a reply", "", "HTTP/1.1 400 Bad Request\r\n", "a further HTTP reply"},
		{"an idle server's reply", "", "HTTP/1.1 408 Request Timeout\r\n", ""},
		{"chunks", "Transfer-Encoding: chunked\r\n", "1a;x\r\nabc", "content in chunks"},
		{"a page in chunks", "Transfer-Encoding: chunked\r\n", "1a\r\n<html>", "an HTML page in chunks"},
		{"chunks that nobody announced", "", "1a\r\nabc", ""},
		{"as much as was announced", "Content-Length: 3\r\n", "abc", "the content of 3 bytes that Content-Length announced"},
		{"more than was announced", "Content-Length: 2\r\n", "abc", ""},
		{"a banner of that length", "Content-Length: 5\r\n", "SSH-2", ""},
	} {
		if got := page.Content(tt.content).InsteadOfTunnel(readReply(t, "200 OK", tt.fields), len(tt.content)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestOddHTTP(t *testing.T) {
	for raw, want := range map[string]string{
		"\r\nHTTP/1.1 200 OK":         "an empty line",
		"\nHTTP/1.1 200 OK":           "an empty line",
		"\xef\xbb\xbfHTTP/1.1 200 OK": "a byte order mark",
		"http/1.1 200 ok":             "other letters",
		"SSH-2.0":                     "",
		"":                            "",
	} {
		if got := page.OddHTTP([]byte(raw)); !strings.Contains(got, want) || (got == "") != (want == "") {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
	}
}

func TestProduct(t *testing.T) {
	for _, tt := range []struct{ fields, content, want string }{
		{"Server: squid/5.7\r\n", "", "Squid 5.7 by Server"},
		{"Server: Apache\r\n", "Your organization uses Zscaler", "Zscaler by its page"},
		{"Proxy-Status: culvert-12ab; error=dns_error\r\n", "", "culvert by Proxy-Status"},
		{"Server: own\r\n", "denied", " by "},
	} {
		if name, sign := page.Product(readReply(t, "403 No", tt.fields), page.Content(tt.content)); fmt.Sprintf("%s by %s", name, sign) != tt.want {
			t.Errorf("%q %q: %q by %q", tt.fields, tt.content, name, sign)
		}
	}
	if name, sign := page.Product(nil, page.Content("squid")); name+sign != "" {
		t.Errorf("without a reply: %q by %q", name, sign)
	}
}
