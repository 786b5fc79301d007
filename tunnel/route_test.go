package tunnel

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseHop(t *testing.T) {
	for _, tt := range []struct {
		url, name   string
		credentials *Credentials
	}{
		{"http://proxy.corp:3128", "proxy.corp:3128", nil},
		{"HTTP://Proxy.Corp.:3128/", "proxy.corp:3128", nil},
		{"proxy.corp:3128", "proxy.corp:3128", nil},
		{"proxy.corp", "proxy.corp:80", nil},
		{"http://proxy.corp", "proxy.corp:80", nil},
		{"https://proxy.corp", "proxy.corp:443", nil},
		{"HTTPS://me:secret@proxy.corp:8443/", "proxy.corp:8443", &Credentials{User: "me", Password: "secret"}},
		{"http://[2001:db8::1]:8080", "[2001:db8::1]:8080", nil},
		{"[2001:db8::1]", "[2001:db8::1]:80", nil},
		{"http://me:secret@proxy.corp:3128", "proxy.corp:3128", &Credentials{User: "me", Password: "secret"}},
		{"me:secret@proxy.corp", "proxy.corp:80", &Credentials{User: "me", Password: "secret"}},
		{"http://me@proxy.corp", "proxy.corp:80", &Credentials{User: "me"}},
		{"http://m%65:%73ecret%3A@proxy.corp", "proxy.corp:80", &Credentials{User: "me", Password: "secret:"}},
		{"http://me:p@ss:#/?@proxy.corp", "proxy.corp:80", &Credentials{User: "me", Password: "p@ss:#/?"}},
		{"unix:/run/proxy.sock", "unix:/run/proxy.sock", nil},
		{"unix:///run/proxy.sock", "unix:/run/proxy.sock", nil},
		{"unix:relative", "unix:relative", nil},
	} {
		t.Run(tt.url, func(t *testing.T) {
			hop, err := ParseHop(tt.url)
			if err != nil {
				t.Fatal(err)
			}
			if hop.Name() != tt.name || !reflect.DeepEqual(hop.Credentials, tt.credentials) {
				t.Errorf("%s with %+v, want %s with %+v", hop.Name(), hop.Credentials, tt.name, tt.credentials)
			}
			if strings.Contains(hop.String(), "secret") {
				t.Errorf("%s shows the password", hop)
			}
		})
	}
}

func TestParseHopRefuses(t *testing.T) {
	for url, want := range map[string]string{
		"":                                  "empty",
		"quic://u:secret@proxy.corp":        `the scheme "quic" is not supported`,
		"socks9://proxy.corp":               `the scheme "socks9" is not supported`,
		"http://proxy.corp/path":            "a path, query or fragment",
		"http://proxy.corp?secret":          "a path, query or fragment",
		"http://":                           "empty",
		"http://proxy.corp:":                "the port is missing",
		"http://proxy.corp:0":               "the port is not a number",
		"http://proxy.corp:99999":           "the port is not a number",
		"http://2001:db8::1":                "brackets",
		"http://u:secret%zz@proxy.corp":     "bad %-escape",
		"http://u:secret%0a@proxy.corp":     "control character",
		"http://u%3Av:secret@proxy.corp":    "colon",
		"http://proxy corp":                 "character",
		"direct":                            "stands alone",
		"unix:":                             "path",
		"unix:/a\x00b":                      "NUL",
		"unix:/" + strings.Repeat("a", 200): "longer",
	} {
		t.Run(url, func(t *testing.T) {
			hop, err := ParseHop(url)
			if err == nil {
				t.Fatalf("got %v", hop)
			}
			if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "u:secret") {
				t.Errorf("error %q, want %q in it", err, want)
			}
		})
	}
}

func TestParseRoute(t *testing.T) {
	for _, tt := range []struct{ route, want, err string }{
		{"direct", "direct", ""},
		{"proxy.corp:3128", "http://proxy.corp:3128", ""},
		{"http://u:p@a:1,b:2", "http://a:1,http://b:2", ""},
		{"unix:/run/x,b:2", "unix:/run/x,http://b:2", ""},
		{"a:1,unix:/run/x", "", "a unix socket can only be the first hop"},
		{"a:1,direct", "", "stands alone"},
		{"direct,a:1", "", "stands alone"},
		{"a:1|b:2", "", "one route"},
		{"a:1,", "", "empty"},
		{"", "", "empty"},
	} {
		t.Run(tt.route, func(t *testing.T) {
			got, err := ParseRoute(tt.route)
			switch {
			case tt.err != "":
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v, %v; want %q", got, err, tt.err)
				}
			case err != nil || got.String() != tt.want:
				t.Errorf("got %v, %v; want %s", got, err, tt.want)
			}
		})
	}
}

func TestParseHostPort(t *testing.T) {
	for _, tt := range []struct{ host, port, want string }{
		{"example.com", "22", "example.com:22"},
		{"Example.COM.", "22", "example.com:22"},
		{"::1", "22", "[::1]:22"},
		{"[::1]", "22", "[::1]:22"},
		{"bücher.example", "443", "xn--bcher-kva.example:443"},
		{"h", "1", "h:1"},
		{"", "22", ""},
		{"example.com", "", ""},
		{"example.com", "ssh", ""},
		{"example.com", "0", ""},
		{"example.com:22", "22", ""},
		{"[example.com]", "22", ""},
		{"a b", "22", ""},
		{"a\x00", "22", ""},
		{"a\r\nHost: b", "22", ""},
		{"fe80::1%eth0", "22", ""},
		{"0177.0.0.1", "22", ""},
	} {
		t.Run(tt.host+" "+tt.port, func(t *testing.T) {
			got, err := ParseHostPort(tt.host, tt.port)
			if got.String() != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestParseTarget(t *testing.T) {
	for _, tt := range []struct{ in, want, err string }{
		{"example.com:22", "example.com:22", ""},
		{"[2001:db8::1]:22", "[2001:db8::1]:22", ""},
		{"bücher.example:443", "xn--bcher-kva.example:443", ""},
		{"2001:db8::1:22", "", "an IPv6 address needs brackets"},
		{"example.com", "", "the port is missing"},
		{"user@example.com:22", "", "userinfo"},
		{"http://example.com:22", "", "a path"},
		{"a\x01:22", "", "character"},
	} {
		t.Run(tt.in, func(t *testing.T) {
			got, err := ParseTarget(tt.in)
			switch {
			case tt.err != "":
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v, %v; want %q", got, err, tt.err)
				}
			case err != nil || got.String() != tt.want:
				t.Errorf("got %v, %v; want %s", got, err, tt.want)
			}
		})
	}
}

// A query sets the TLSOptions of one hop, and no flag changes that hop.
func TestParseHopTLS(t *testing.T) {
	pin := "sha256//" + strings.Repeat("A", 42) + "+="
	for _, tt := range []struct{ url, err string }{
		{"https://user:p?ss@proxy.test:8443?insecure&server-name=a.test&pin=" + pin, ""},
		{"h2://proxy.test?pin=" + pin + "&pin=" + pin, ""},
		{"http://proxy.test?insecure", "for https and h2"},
		{"https://proxy.test?pin=x", "a pin begins with"},
		{"https://proxy.test?colour=red", "means nothing"},
		{"https://proxy.test?server-name", "no value"},
		{"https://proxy.test?cacert=/no/such/file", "no such file"},
		{"https://proxy.test?server-name=%zz", "bad %-escape"},
		{"https://proxy.test?", "means nothing"},
	} {
		h, err := ParseHop(tt.url)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: %v, want %q", tt.url, err, tt.err)
			}
			continue
		}
		if err != nil || h.TLS == nil || len(h.TLS.Pins) == 0 {
			t.Errorf("%s: %+v, %v", tt.url, h.TLS, err)
			continue
		}
		r, own := Route{Hops: []Hop{h, {Scheme: SchemeHTTPS, Proxy: h.Proxy}}}, h.TLS
		if used, err := r.UseTLS(&TLSOptions{ServerName: "all.test"}); !used || err != nil || r.Hops[0].TLS != own || r.Hops[1].TLS.ServerName != "all.test" {
			t.Errorf("%s: with flags for the others: %+v, %v", tt.url, r.Hops, err)
		}
	}
}
