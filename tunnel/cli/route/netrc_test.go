package route

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNetrc(t *testing.T) {
	tests := []struct {
		name, text, host string
		user, password   string
		err              string
	}{
		{"plain", "machine a.test login me password secret", "a.test", "me", "secret", ""},
		{"over lines, in upper case", "machine A.Test\n\tlogin me\n\n password\nsecret\n", "a.test", "me", "secret", ""},
		{"the first entry counts", "machine a.test login one password 1\nmachine a.test login two password 2", "a.test", "one", "1", ""},
		{"another's", "machine b.test login me password secret", "a.test", "", "", ""},
		{"default", "machine b.test login me password secret\ndefault login any password body", "a.test", "any", "body", ""},
		{"the entry before default", "default login any password body\nmachine a.test login me password secret", "a.test", "me", "secret", ""},
		{"quoted", `machine a.test login "m e" password "a\"b\\c #d"`, "a.test", "m e", `a"b\c #d`, ""},
		{"an account is of no use", "machine a.test account x login me password secret", "a.test", "me", "secret", ""},
		{"a comment", "# machine a.test login no password no\nmachine a.test login me password s#1", "a.test", "me", "s#1", ""},
		{"a macro", "machine b.test login x password y\nmacdef init\nmachine a.test login no password no\n\nmachine a.test login me password secret", "a.test", "me", "secret", ""},
		{"a keyword as a password", "machine a.test login me password machine", "a.test", "me", "machine", ""},
		{"no end", "machine a.test login", "", "", "", "nothing behind the last login"},
		{"no machine", "login me", "", "", "", "before the first machine"},
		{"foreign", "me:secret", "", "", "", "a word where"},
		{"control", "machine a.test login me password \"a\x01\"", "a.test", "", "", "control character"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "netrc")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			n, err := readNetrc(path)
			if err == nil {
				c, failed := n.find(tt.host)
				if err = failed; c != nil && (c.User != tt.user || c.Password != tt.password) || err == nil && (c == nil) != (tt.user == "") {
					t.Errorf("found %+v, want %s:%s", c, tt.user, tt.password)
				}
			}
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("a secret is in %v", err)
			}
		})
	}
}
