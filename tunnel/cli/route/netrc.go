package route

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/internal/textfile"
)

// netrc holds the logins of a file in the form of ftp's .netrc.
type netrc struct {
	path     string
	machines map[string]tunnel.Credentials
	fallback *tunnel.Credentials // of the entry "default"; nil = none
}

// maxNetrc limits the size of the file, in bytes.
const maxNetrc = 1 << 20

// netrcPath returns the path of the file that curl and others read: the one that NETRC
// names, or .netrc in the home folder.
func netrcPath() (string, error) {
	if path := os.Getenv("NETRC"); path != "" {
		return path, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, ".netrc"), nil
}

// readNetrc reads the file. Errors quote nothing from it.
func readNetrc(path string) (*netrc, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && tunnel.ReadableByOthers(info) {
		return nil, &exposedError{path}
	}
	text, err := io.ReadAll(io.LimitReader(f, maxNetrc+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxNetrc:
		return nil, fmt.Errorf("%s: larger than a netrc file can be", path)
	}
	n := &netrc{path: path, machines: make(map[string]tunnel.Credentials)}
	if text, err = textfile.Decode(text); err == nil {
		err = n.parse(string(text))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}

// exposedError reports a file of secrets that others can read.
type exposedError struct{ path string }

func (e *exposedError) Error() string { return "others can read " + e.path }

// secretHint returns the hint for an exposedError, other for any other error.
func secretHint(err error, other string) string {
	var exposed *exposedError
	if errors.As(err, &exposed) {
		return "keep the password to yourself: chmod 600 " + exposed.path
	}
	return other
}

// parse reads the entries: machine NAME or default, with login, password and account.
// The first entry for a name counts. A macro (macdef) ends at the next empty line.
func (n *netrc) parse(text string) error {
	words := netrcWords{rest: text}
	var host string
	var c *tunnel.Credentials // of the entry being read; nil = before the first
	keep := func() {
		switch _, have := n.machines[host]; {
		case c == nil:
		case host == "" && n.fallback == nil:
			n.fallback = c
		case host != "" && !have:
			n.machines[host] = *c
		}
	}
	for word, ok := words.next(); ok; word, ok = words.next() {
		value, more := "", true
		switch word {
		case "default":
			keep()
			host, c = "", &tunnel.Credentials{Source: n.path}
			continue
		case "macdef":
			words.skipMacro()
			continue
		case "machine", "login", "password", "account":
			value, more = words.next()
		default:
			return errors.New("a word where machine, default, login, password, account or macdef is expected")
		}
		if !more {
			return fmt.Errorf("nothing behind the last %s", word)
		}
		switch {
		case word == "machine":
			keep()
			host, c = strings.ToLower(value), &tunnel.Credentials{Source: n.path}
		case c == nil:
			return fmt.Errorf("a %s before the first machine", word)
		case word == "login":
			c.User = value
		case word == "password":
			c.Password = value
		}
	}
	keep()
	return nil
}

// find returns the credentials for a host, nil if there are none.
func (n *netrc) find(host string) (*tunnel.Credentials, error) {
	found := n.fallback
	if c, ok := n.machines[host]; ok {
		found = &c
	}
	if found == nil || found.User == "" && found.Password == "" {
		return nil, nil
	}
	if err := found.Check(); err != nil {
		return nil, fmt.Errorf("%s, for %s: %w", n.path, host, err)
	}
	return found, nil
}

// netrcWords splits a file into words, separated by white space. A word may be quoted by
// double quotes, in which a backslash quotes the next character. A # at the start of a
// word begins a comment.
type netrcWords struct{ rest string }

// next returns the next word, false at the end.
func (w *netrcWords) next() (word string, ok bool) {
	for {
		w.rest = strings.TrimLeft(w.rest, " \t\r\n")
		if !strings.HasPrefix(w.rest, "#") {
			break
		}
		_, w.rest, _ = strings.Cut(w.rest, "\n")
	}
	if w.rest == "" {
		return "", false
	}
	if w.rest[0] != '"' {
		end := strings.IndexAny(w.rest, " \t\r\n")
		if end < 0 {
			end = len(w.rest)
		}
		word, w.rest = w.rest[:end], w.rest[end:]
		return word, true
	}
	var b strings.Builder
	for i := 1; i < len(w.rest); i++ {
		switch ch := w.rest[i]; {
		case ch == '\\' && i+1 < len(w.rest):
			i++
			b.WriteByte(w.rest[i])
		case ch == '"':
			w.rest = w.rest[i+1:]
			return b.String(), true
		default:
			b.WriteByte(ch)
		}
	}
	w.rest = ""
	return b.String(), true
}

// skipMacro skips to behind the empty line that ends a macro.
func (w *netrcWords) skipMacro() {
	for w.rest != "" {
		var line string
		line, w.rest, _ = strings.Cut(w.rest, "\n")
		if strings.TrimSpace(line) == "" {
			return
		}
	}
}
