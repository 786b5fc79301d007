package client

import (
	"bytes"
	"html"
	"net/url"
	"slices"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/internal/wire"
)

// masked replaces a secret.
const masked = "***"

// Limits on what a Masker searches for outside the fields that hold credentials. A
// short password would be found in ordinary words.
const (
	minSecret       = 6 // bytes of a secret
	minSecretPrefix = 6 // bytes of a secret at the end of an excerpt
)

// Masker replaces a Client's credentials by "***" in what is shown to people: in the
// fields that hold credentials, and wherever else they occur, as in an error page that
// quotes the request. It does not modify its arguments. Several goroutines may use it.
type Masker struct {
	off     bool
	secrets []string
	answers func() []string // values of Proxy-Authorization that were sent meanwhile; nil = none
}

// Masker returns a Masker for all credentials that the Client has sent or will send. If
// show is set, the Masker masks nothing.
func (c *Client) Masker(show bool) *Masker {
	m := &Masker{off: show, answers: c.sharedConns().answers}
	for _, r := range c.routes() {
		for _, h := range r.Hops {
			if h.Credentials != nil {
				m.add(strings.TrimPrefix(h.Credentials.Basic(), "Basic "))
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

// add adds a secret in the forms in which a proxy may quote it: as it is, as we escape
// it, escaped for a URL or a page, and without the padding of base64.
func (m *Masker) add(secret string) {
	forms := []string{secret, wire.Escape([]byte(secret), 0), strings.TrimRight(secret, "="), url.QueryEscape(secret), url.PathEscape(secret), html.EscapeString(secret)}
	for _, form := range forms {
		if len(form) >= minSecret && !slices.Contains(m.secrets, form) {
			m.secrets = append(m.secrets, form)
		}
	}
}

// all returns the secrets known by now, including the answers to challenges.
func (m *Masker) all() []string {
	if m.answers == nil {
		return m.secrets
	}
	with := Masker{secrets: slices.Clone(m.secrets)}
	for _, value := range m.answers() {
		_, secret, _ := strings.Cut(value, " ") // after the scheme
		with.add(secret)
		if _, response, ok := strings.Cut(secret, `response="`); ok { // Digest
			response, _, _ = strings.Cut(response, `"`)
			with.add(response)
		}
	}
	return with.secrets
}

// Sent masks what was sent: the values of the fields that hold credentials, and all
// that Received masks.
func (m *Masker) Sent(b []byte) tunnel.WireBytes {
	if m.off || len(b) == 0 {
		return b
	}
	return m.Received(hideCredentials(b))
}

// Received masks what was received. It also masks the beginning of a secret at the end
// of b, since b may be an excerpt.
func (m *Masker) Received(b []byte) tunnel.WireBytes {
	if m.off {
		return b
	}
	secrets := m.all()
	for _, secret := range secrets {
		b = bytes.ReplaceAll(b, []byte(secret), []byte(masked))
	}
	for _, secret := range secrets { // at the end of an excerpt
		for n := min(len(b), len(secret)-1); n >= minSecretPrefix; n-- {
			if start := len(b) - n; string(b[start:]) == secret[:n] {
				return append(b[:start:start], masked...)
			}
		}
	}
	return b
}

// Text masks words that may quote what was received, and be cut off with "...".
func (m *Masker) Text(s string) string {
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

// Holds reports whether b contains a secret.
func (m *Masker) Holds(b []byte) bool {
	return !m.off && slices.ContainsFunc(m.all(), func(secret string) bool { return bytes.Contains(b, []byte(secret)) })
}

// SameLength replaces each byte of a secret by an asterisk, so that the length of b
// stays the same.
func (m *Masker) SameLength(b []byte) []byte {
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

// Message returns what was sent to a SOCKS proxy, masked.
func (m *Masker) Message(s *SOCKSMessage) tunnel.WireBytes {
	if m.off {
		return s.wire()
	}
	return m.Sent(s.Sent)
}

// Any reports whether there are secrets to mask.
func (m *Masker) Any() bool { return !m.off && len(m.all()) > 0 }

// Mask returns a head of an Exchange with the Client's credentials masked.
func (c *Client) Mask(head []byte) []byte { return c.Masker(false).Sent(head) }
