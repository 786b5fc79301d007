package audit

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"

	"culvert/tunnel"
)

// logIn finds out how the proxy takes the credentials, by a tunnel to what will be
// asked for, or where that is nothing to a name that does not exist.
func (b *bench) logIn(ctx context.Context, target tunnel.Authority) {
	if target.IsZero() {
		target, _ = tunnel.ParseAuthority("culvert-audit.invalid:443")
	}
	ctx, cancel := context.WithTimeout(ctx, 2*b.Patience) // for a round without the credentials, and one with them
	defer cancel()
	// What else became of the tunnel shows when the audit asks for one itself.
	login, err := b.Client.ProxyLogin(ctx, target)
	var e *tunnel.Error
	b.login, b.rejected = login, login == nil && errors.As(err, &e) && e.Type == tunnel.ErrorCredentials && e.Login != nil && e.Login.Sent
}

// masked takes the credentials out of what is shown, our own words or the
// proxy's: an error page may bring them back.
func (b *bench) masked(text string) string { return string(b.Client.Mask([]byte(text))) }

const authMark = "{auth}"

// fill is bench.fill with the field that has the proxy's credentials, for the
// request that it stands in.
func (k *talk) fill(text string) string {
	parts := strings.Split(k.bench.fill(text), authMark)
	for i, before := range parts[:len(parts)-1] {
		head := before[strings.LastIndex(before, "\r\n\r\n")+1:]
		parts[i] += k.authField(strings.TrimLeft(head, "\r\n"))
	}
	return strings.Join(parts, "")
}

// authField is the field line for a request that begins with head, "" where none
// is needed.
func (k *talk) authField(head string) string {
	if k.login == nil || k.login.Bound() && k.loggedIn {
		return ""
	}
	if !k.login.Bound() {
		return "Proxy-Authorization: " + k.authorization(requestLine(head)) + "\r\n"
	}
	ctx, cancel := context.WithTimeout(k.ctx, k.Patience)
	defer cancel()
	value, err := k.login.Begin(ctx, k.conn, k.br)
	if err != nil {
		k.skip("the login by %s: %s", k.login.Scheme(), ascii(err.Error()))
	}
	k.loggedIn, k.got.kept = true, nil // the check's own exchange is what is shown
	return "Proxy-Authorization: " + value + "\r\n"
}

// authorization is the value for a request by a login for single requests.
func (t *trial) authorization(method, target string) string {
	ctx, cancel := context.WithTimeout(t.ctx, t.Patience)
	defer cancel()
	value, err := t.login.Value(ctx, method, target)
	if err != nil {
		t.skip("the login by %s: %s", t.login.Scheme(), ascii(err.Error()))
	}
	return value
}

// requestLine is a request's method and target, as its first line has them.
func requestLine(head string) (method, target string) {
	line, _, _ := strings.Cut(head, "\n")
	method, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	if i := strings.LastIndexByte(rest, ' '); i >= 0 {
		rest = rest[:i]
	}
	return cmp.Or(method, http.MethodConnect), strings.TrimSpace(rest)
}
