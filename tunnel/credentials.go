package tunnel

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
)

// maxCredentialsFile is more than any user name and password, or token, need.
const maxCredentialsFile = 16 << 10

// ReadCredentials reads a file of one line, user:password, as corkscrew has it.
// The password is all behind the first colon; neither is percent-decoded.
// exposed reports that others than the file's owner may read it. Errors hold
// nothing of the file's content.
func ReadCredentials(path string) (c Credentials, exposed bool, err error) {
	return readSecret(path, parseCredentials)
}

// ReadToken is ReadCredentials for a file whose line is a token for AuthBearer.
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

func readSecret(path string, parse func(string) (Credentials, error)) (c Credentials, exposed bool, err error) {
	f, err := os.Open(path)
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
	if c, err = parse(string(text)); err != nil {
		return Credentials{}, false, fmt.Errorf("%s: %w", path, err)
	}
	info, err := f.Stat()
	return c, err == nil && ReadableByOthers(info), nil
}

// ReadableByOthers reports whether others than its owner may read a file. It is about plain files on systems whose modes say who may
// read: a pipe, as <(command) makes one, is nobody else's to open.
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
