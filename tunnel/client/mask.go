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

// masked stands where a secret stood.
const masked = "***"

// Bounds on what a Masker looks for outside the fields that hold credentials: a
// short password is found in words that are none.
const (
	minSecret       = 6 // bytes of a secret
	minSecretPrefix = 6 // bytes of one that an excerpt cut off
)

// Masker takes a Client's credentials out of what is to be shown: out of the fields
// that were sent by their names, and, should a proxy send them back in an error
// page, wherever they turn up. What stands for them is "***". It never changes the
// bytes that it is given. It may be used by several goroutines.
type Masker struct {
	off     bool
	secrets []string
	answers func() []string // values of Proxy-Authorization that went out meanwhile; nil = none
}

// Masker returns a Masker of all that the Client sends by way of credentials, also
// of what is to come. It leaves everything as it is if show is set.
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

// add takes a secret in the forms in which it may come back: as it is, escaped
// by us, for a URL or for a page, and without the padding of base64.
func (m *Masker) add(secret string) {
	forms := []string{secret, wire.Escape([]byte(secret), 0), strings.TrimRight(secret, "="), url.QueryEscape(secret), url.PathEscape(secret), html.EscapeString(secret)}
	for _, form := range forms {
		if len(form) >= minSecret && !slices.Contains(m.secrets, form) {
			m.secrets = append(m.secrets, form)
		}
	}
}

// all are the secrets known by now: those of answers too, which a challenge made.
func (m *Masker) all() []string {
	if m.answers == nil {
		return m.secrets
	}
	with := Masker{secrets: slices.Clone(m.secrets)}
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

// Sent masks what was sent: the values of the fields that hold credentials, and what
// Received masks.
func (m *Masker) Sent(b []byte) tunnel.WireBytes {
	if m.off || len(b) == 0 {
		return b
	}
	return m.Received(hideCredentials(b))
}

// Received masks what came from elsewhere, where the end of a secret may be cut off.
func (m *Masker) Received(b []byte) tunnel.WireBytes {
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

// Text masks words that may quote what came back, cut off with "...".
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

// Holds reports whether b holds something to mask.
func (m *Masker) Holds(b []byte) bool {
	return !m.off && slices.ContainsFunc(m.all(), func(secret string) bool { return bytes.Contains(b, []byte(secret)) })
}

// SameLength is Received with as many asterisks for a secret as it had bytes.
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

// Message masks a message to a SOCKS proxy.
func (m *Masker) Message(s *SOCKSMessage) tunnel.WireBytes {
	if m.off {
		return s.wire()
	}
	return m.Sent(s.Sent)
}

// Any reports whether there is anything to mask.
func (m *Masker) Any() bool { return !m.off && len(m.all()) > 0 }

// Mask returns a head of an Exchange with the Client's credentials masked.
func (c *Client) Mask(head []byte) []byte { return c.Masker(false).Sent(head) }
