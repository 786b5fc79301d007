package tunnel

import (
	"bytes"
	"html"
	"net/url"
	"slices"
	"strings"

	"culvert/tunnel/internal/wire"
)

// masked stands where a secret stood.
const masked = "***"

// Bounds on what masker looks for outside the fields that hold credentials: a
// short password is found in words that are none.
const (
	minSecret       = 6 // bytes of a secret
	minSecretPrefix = 6 // bytes of one that an excerpt cut off
)

// masker takes credentials out of everything that a Report shows: out of our
// own fields by their names, and, should a proxy send them back in an error
// page, wherever they turn up.
type masker struct {
	off     bool
	secrets []string
	answers func() []string // values of Proxy-Authorization that went out meanwhile; nil = none
}

// newMasker collects the secrets that the Client sends.
func newMasker(c *Client, show bool) masker {
	m := masker{off: show, answers: c.sharedConns().answers}
	for _, r := range c.routes() {
		for _, h := range r.Hops {
			if h.Credentials != nil {
				m.add(strings.TrimPrefix(h.Credentials.basic(), "Basic "))
				m.add(h.Credentials.Password)
			}
		}
	}
	for _, f := range c.Header {
		secret, schemed := holdsSecret(f.Name)
		if value := f.Value; secret {
			if schemed {
				_, value, _ = strings.Cut(value, " ")
			}
			m.add(strings.TrimSpace(value))
		}
	}
	return m
}

// add takes a secret in the forms in which it may come back: as it is, escaped
// by us, for a URL or for a page, and without the padding of base64.
func (m *masker) add(secret string) {
	forms := []string{secret, wire.Escape([]byte(secret), 0), strings.TrimRight(secret, "="), url.QueryEscape(secret), url.PathEscape(secret), html.EscapeString(secret)}
	for _, form := range forms {
		if len(form) >= minSecret && !slices.Contains(m.secrets, form) {
			m.secrets = append(m.secrets, form)
		}
	}
}

// all are the secrets known by now: those of answers too, which a challenge made.
func (m masker) all() []string {
	if m.answers == nil {
		return m.secrets
	}
	with := masker{secrets: slices.Clone(m.secrets)}
	for _, value := range m.answers() {
		_, secret, _ := strings.Cut(value, " ") // behind the scheme
		with.add(secret)
		if _, response, ok := strings.Cut(secret, `response="`); ok { // Digest
			response, _, _ = strings.Cut(response, `"`)
			with.add(response)
		}
	}
	return with.secrets
}

// sent masks what we sent: the values of credential fields.
func (m masker) sent(b []byte) WireBytes {
	if m.off || len(b) == 0 {
		return b
	}
	return m.received(HideCredentials(b))
}

// received masks what came back.
func (m masker) received(b []byte) WireBytes {
	if m.off {
		return b
	}
	secrets := m.all()
	for _, secret := range secrets {
		b = bytes.ReplaceAll(b, []byte(secret), []byte(masked))
	}
	for _, secret := range secrets { // that reading no further cut off
		for n := min(len(b), len(secret)-1); n >= minSecretPrefix; n-- {
			if start := len(b) - n; string(b[start:]) == secret[:n] {
				return append(b[:start:start], masked...)
			}
		}
	}
	return b
}

// text masks words that may quote what came back, cut off with "...".
func (m masker) text(s string) string {
	if m.off {
		return s
	}
	for _, secret := range m.all() {
		s = strings.ReplaceAll(s, secret, masked)
		for n := len(secret) - 1; n >= minSecretPrefix; n-- {
			s = strings.ReplaceAll(s, secret[:n]+"...", masked+"...")
		}
	}
	return s
}

// holds reports whether a secret stands in b.
func (m masker) holds(b []byte) bool {
	return !m.off && slices.ContainsFunc(m.all(), func(secret string) bool { return bytes.Contains(b, []byte(secret)) })
}

// inPlace is received with as many bytes for a secret as it had.
func (m masker) inPlace(b []byte) []byte {
	if m.off {
		return b
	}
	for _, secret := range m.all() {
		if bytes.Contains(b, []byte(secret)) {
			b = bytes.ReplaceAll(b, []byte(secret), bytes.Repeat([]byte("*"), len(secret)))
		}
	}
	return b
}
