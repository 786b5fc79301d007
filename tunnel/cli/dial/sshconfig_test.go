package dial

import "testing"

// What --print-ssh-config prints of a value has no password in it.
func TestWithoutSecret(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ flag, value, want string }{
		{"proxy", "http://ada:secret@proxy:1", "http://ada@proxy:1"},
		{"proxy", "http://ada@proxy:1", "http://ada@proxy:1"},
		{"proxy", "ada:sec@ret@proxy", "ada@proxy"},
		{"proxy", "http://a@secret@proxy", "http://proxy"},
		{"proxy", "http://sec/ret@proxy", "http://proxy"},
		{"proxy", "http://proxy?credentials=/a%40b", "http://proxy?credentials=/a%40b"},
		{"proxy", "unix:/a:b@c", "unix:/a:b@c"},
		{"or", "http://ada:secret@a,eve:secret@b,direct", "http://ada@a,eve@b,direct"},
		{"pac", "http://ada:secret@proxy/a@b.pac?c=d@e", "http://ada@proxy/a@b.pac?c=d@e"},
		{"pac", "/home/a:b@c.pac", "/home/a:b@c.pac"},
		{"header", "Proxy-Authorization: Basic secret", ""},
		{"header", "X-Api-Key: secret", ""},
		{"header", "Proxy-Authorization:", "Proxy-Authorization:"},
		{"header", "X-Why: ada:b@c", "X-Why: ada:b@c"},
		{"proxy-user", "ada", "ada"},
	} {
		if got := withoutSecret(tt.flag, tt.value); got != tt.want {
			t.Errorf("--%s %s: got %s, want %s", tt.flag, tt.value, got, tt.want)
		}
	}
}
