package tunnel

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
)

// maxCredentialsFile is more than any user name and password need.
const maxCredentialsFile = 4 << 10

// ReadCredentials reads a file of one line, user:password, as corkscrew has it.
// The password is all behind the first colon; neither is percent-decoded.
// exposed reports that others than the file's owner may read it. Errors hold
// nothing of the file's content.
func ReadCredentials(path string) (c Credentials, exposed bool, err error) {
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
	if c, err = parseCredentials(string(text)); err != nil {
		return Credentials{}, false, fmt.Errorf("%s: %w", path, err)
	}
	info, err := f.Stat()
	return c, err == nil && readableByOthers(info), nil
}

// readableByOthers is about plain files on systems whose modes say who may
// read: a pipe, as <(command) makes one, is nobody else's to open.
func readableByOthers(info os.FileInfo) bool {
	return runtime.GOOS != "windows" && info.Mode().IsRegular() && info.Mode().Perm()&0o044 != 0
}

func parseCredentials(text string) (Credentials, error) {
	line, rest, _ := strings.Cut(text, "\n")
	if strings.TrimSpace(rest) != "" {
		return Credentials{}, errors.New("there is more than one line: give one user:password")
	}
	user, password, ok := strings.Cut(strings.TrimSuffix(line, "\r"), ":")
	if !ok || user == "" {
		return Credentials{}, errors.New("the line is not user:password")
	}
	c := Credentials{User: user, Password: password}
	return c, c.Check()
}

// HideCredentials returns a request head with the values of its credential
// fields replaced, the scheme's name left to be seen.
func HideCredentials(head []byte) []byte {
	lines := strings.SplitAfter(string(head), "\n")
	for i, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		if !ok || !strings.EqualFold(name, "Proxy-Authorization") && !strings.EqualFold(name, "Authorization") && !strings.EqualFold(name, "Cookie") {
			continue
		}
		scheme, secret, ok := strings.Cut(strings.TrimSpace(value), " ")
		if !ok || secret == "" || strings.EqualFold(name, "Cookie") {
			scheme = ""
		}
		end := line[len(strings.TrimRight(line, "\r\n")):]
		lines[i] = name + ": " + strings.TrimSpace(scheme+" ***") + end
	}
	return []byte(strings.Join(lines, ""))
}
