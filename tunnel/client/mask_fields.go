package client

import (
	"slices"
	"strings"
)

// secretNames are parts of the names of fields whose whole value is a secret, in
// lower case.
var secretNames = [...]string{"cookie", "api-key", "apikey", "token", "secret", "password", "passwd"}

// holdsSecret reports whether the value of the named field is a secret, and whether
// the secret follows the name of an authentication scheme.
func holdsSecret(name string) (secret, scheme bool) {
	name = strings.ToLower(name)
	if name == "proxy-authorization" || name == "authorization" {
		return true, true
	}
	return slices.ContainsFunc(secretNames[:], func(part string) bool { return strings.Contains(name, part) }), false
}

// HoldsSecret reports whether the value of a field, in the form that ParseHeader takes, is
// a secret, judged by the field's name.
func HoldsSecret(header string) bool {
	name, value, _ := strings.Cut(header, ":")
	secret, _ := holdsSecret(strings.TrimSpace(name))
	return secret && strings.TrimSpace(value) != ""
}

// hideCredentials returns a request head with "***" for each secret in a field's
// value. The name of an authentication scheme stays.
func hideCredentials(head []byte) []byte {
	lines := strings.SplitAfter(string(head), "\n")
	for i, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		secret, schemed := holdsSecret(name)
		if !ok || !secret || strings.ContainsAny(name, " \t") { // the request line may hold such a word, and a colon
			continue
		}
		scheme, rest, ok := strings.Cut(strings.TrimSpace(value), " ")
		if !ok || rest == "" || !schemed {
			scheme = ""
		}
		end := line[len(strings.TrimRight(line, "\r\n")):]
		lines[i] = name + ": " + strings.TrimSpace(scheme+" ***") + end
	}
	return []byte(strings.Join(lines, ""))
}
