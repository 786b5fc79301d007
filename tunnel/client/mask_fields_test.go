package client

import "testing"

func TestHideCredentials(t *testing.T) {
	for _, tt := range []struct{ name, head, want string }{
		{"none", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"},
		{"Basic", "CONNECT a:1 HTTP/1.1\r\nProxy-Authorization: Basic c2VjcmV0\r\n\r\n", "CONNECT a:1 HTTP/1.1\r\nProxy-Authorization: Basic ***\r\n\r\n"},
		{"any case", "X\r\nproxy-AUTHORIZATION:Bearer secret\r\n\r\n", "X\r\nproxy-AUTHORIZATION: Bearer ***\r\n\r\n"},
		{"no scheme", "X\r\nAuthorization: secret\r\n\r\n", "X\r\nAuthorization: ***\r\n\r\n"},
		{"key of an API", "X\r\nX-Api-Key: abc def\r\nx-auth-token: t\r\nX-Client-Secret:s\r\n\r\n", "X\r\nX-Api-Key: ***\r\nx-auth-token: ***\r\nX-Client-Secret: ***\r\n\r\n"},
		{"host like a field", "CONNECT token.test:443 HTTP/1.1\r\nHost: token.test:443\r\nSec-WebSocket-Key: x\r\n\r\n", "CONNECT token.test:443 HTTP/1.1\r\nHost: token.test:443\r\nSec-WebSocket-Key: x\r\n\r\n"},
		{"cookie", "X\r\nCookie: secret=1; b=2\r\n\r\n", "X\r\nCookie: ***\r\n\r\n"},
		{"broken off", "X\r\nProxy-Authorization: Basic secr", "X\r\nProxy-Authorization: Basic ***"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(hideCredentials([]byte(tt.head))); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
