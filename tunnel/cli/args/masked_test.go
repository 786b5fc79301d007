package args

import "testing"

// A message quotes what was typed, and hides what may be a password in it.
func TestMessagesHideUserinfo(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ message, want string }{
		{`unexpected argument "http://ada:secret@proxy:3128"`, `unexpected argument "http://***@proxy:3128"`},
		{`target "ada:secret@host:22": userinfo`, `target "***@host:22": userinfo`},
		{`ports "secret@h": the port`, `ports "***@h": the port`},
		{`bad value "http://ada:sec ret@p" and "http://ada:secret\"@p"`, `bad value "http://***@p" and "http://***@p"`},
		{`open http://ada:secret@p: no such file`, `open http://***@p: no such file`},
		{`open http://ada:secret@p,http://ada:secret@q: no`, `open http://***@q: no`},
		{`open /home/a@b/c: no such file`, `open /home/a@b/c: no such file`},
		{`"no end http://ada:secret@p`, `"no end http://***@p`},
		{`write "user" @ "host"`, `write "user" @ "host"`},
		{"no URL", "no URL"},
		{"", ""},
	} {
		if got := (&Error{Message: tt.message}).Error(); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.message, got, tt.want)
		}
	}
	if got, want := HideUserinfo(`the proxy says "mail ada@corp, see https://x:y@z/"`), `the proxy says "mail ada@corp, see https://***@z/"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
