package serve

import (
	"bytes"
	"sync/atomic"

	"culvert/tunnel/internal/textfile"
	"culvert/tunnel/proxy"
)

// usersFile is the Verifier of --users. It can be read again while it verifies.
type usersFile struct {
	path  string
	text  []byte // as it was read last
	users atomic.Pointer[proxy.Users]
}

func newUsersFile(path string) (*usersFile, error) {
	f := &usersFile{path: path}
	return f, f.Reload()
}

// Reload reads the file again. Users that are not in it any more, or have another
// password, are not verified from then on. After an error the users before stay. It must
// not be called by two goroutines at once.
func (f *usersFile) Reload() error {
	text, err := textfile.Read(f.path)
	if err != nil {
		return err
	}
	if f.text != nil && bytes.Equal(text, f.text) {
		return nil // and nobody has to be verified again
	}
	users, err := proxy.LoadUsers(f.path)
	if err != nil {
		return err
	}
	f.users.Store(users)
	f.text = text
	return nil
}

// Verify implements proxy.Verifier.
func (f *usersFile) Verify(user, password string) bool {
	return f.users.Load().Verify(user, password)
}

// Remembers reports whether the pair was verified of late.
func (f *usersFile) Remembers(user, password string) bool {
	return f.users.Load().Remembers(user, password)
}
