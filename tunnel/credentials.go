package tunnel

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"runtime"
	"strings"

	"culvert/tunnel/internal/textfile"
	"culvert/tunnel/internal/wire"
)

// Credentials are a user name and a password for one proxy.
type Credentials struct {
	User, Password string

	// Source is where they were given, as "--proxy-user", so that a hint can say
	// where to correct them; "" = the route's Source.
	Source string
}

// equal compares user and password. Both c and other may be nil.
func (c *Credentials) equal(other *Credentials) bool {
	if c == nil || other == nil {
		return c == other
	}
	return c.User == other.User && c.Password == other.Password
}

// Check returns an error if the credentials cannot be sent by Basic (RFC 7617,
// section 2): they contain a control character, or the user name has a colon.
func (c Credentials) Check() error {
	switch {
	case strings.Contains(c.User, ":"):
		return errors.New("a user name cannot hold a colon")
	case wire.HasControl(c.User) || wire.HasControl(c.Password):
		return errors.New("the credentials hold a control character")
	}
	return nil
}

// Basic returns the value of the Proxy-Authorization field for the Basic scheme (RFC
// 7617, section 2).
func (c Credentials) Basic() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.User+":"+c.Password))
}

// parseUserinfo parses USER:PASSWORD@ and decodes %-escapes (RFC 3986, section
// 3.2.1). Control characters are an error.
func parseUserinfo(s string) (*Credentials, error) {
	if s == "" {
		return nil, nil
	}
	user, password, _ := strings.Cut(strings.TrimSuffix(s, "@"), ":")
	var c Credentials
	var err1, err2 error
	c.User, err1 = url.PathUnescape(user)
	c.Password, err2 = url.PathUnescape(password)
	if err1 != nil || err2 != nil {
		return nil, errors.New("the user name or password before the @ has a bad %-escape: a % itself is written %25")
	}
	return &c, c.Check()
}

// maxCredentialsFile is more bytes than any line of credentials needs.
const maxCredentialsFile = 16 << 10

// ReadCredentials reads a file of one line, user:password, as corkscrew does. The
// password begins after the first colon; neither part is percent-decoded. exposed
// reports that users other than the file's owner may read the file. Errors never
// contain any of the file's content.
func ReadCredentials(path string) (c Credentials, exposed bool, err error) {
	return readSecret(path, parseCredentials)
}

// ReadToken is like ReadCredentials for a file of one line that is a token for the
// Bearer scheme. The token is the Password of the Credentials.
func ReadToken(path string) (c Credentials, exposed bool, err error) {
	return readSecret(path, func(text string) (Credentials, error) {
		line, err := onlyLine(text)
		if err == nil && line == "" {
			err = errors.New("there is no token")
		}
		c := Credentials{Password: line}
		return c, errors.Join(err, c.Check())
	})
}

// errNotAFile does not quote the name, which may be the credentials themselves.
var errNotAFile = errors.New("there is no such file: give the name of a file that holds user:password")

func readSecret(path string, parse func(string) (Credentials, error)) (c Credentials, exposed bool, err error) {
	f, err := os.Open(path)
	if os.IsNotExist(err) && strings.Contains(path, ":") && !strings.ContainsAny(path, `/\`) {
		return Credentials{}, false, errNotAFile
	}
	if err != nil {
		return Credentials{}, false, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxCredentialsFile+1))
	if err != nil {
		return Credentials{}, false, err
	}
	if len(text) > maxCredentialsFile {
		return Credentials{}, false, fmt.Errorf("%s: larger than a line of credentials can be", path)
	}
	if text, err = textfile.Decode(text); err == nil {
		c, err = parse(string(text))
	}
	if err != nil {
		return Credentials{}, false, fmt.Errorf("%s: %w", path, err)
	}
	info, err := f.Stat()
	return c, err == nil && ReadableByOthers(info), nil
}

// ReadableByOthers reports whether users other than its owner may read a file. It is
// false for pipes, such as <(command) makes, and on Windows, where the mode does not
// tell.
func ReadableByOthers(info os.FileInfo) bool {
	return runtime.GOOS != "windows" && info.Mode().IsRegular() && info.Mode().Perm()&0o044 != 0
}

func parseCredentials(text string) (Credentials, error) {
	line, err := onlyLine(text)
	if err != nil {
		return Credentials{}, err
	}
	user, password, ok := strings.Cut(line, ":")
	if !ok || user == "" {
		return Credentials{}, errors.New("the line is not user:password")
	}
	c := Credentials{User: user, Password: password}
	return c, c.Check()
}

func onlyLine(text string) (string, error) {
	line, rest, _ := strings.Cut(text, "\n")
	if strings.TrimSpace(rest) != "" {
		return "", errors.New("there is more than one line: give one user:password")
	}
	return strings.TrimSuffix(line, "\r"), nil
}
