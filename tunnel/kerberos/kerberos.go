// Package kerberos makes the tokens of the Negotiate scheme (RFC 4559) from Kerberos
// tickets (RFC 4120, RFC 4178), for client.Client.Negotiate. The tickets come from a
// credential cache or, by a keytab, from the KDC.
//
// Its libraries cost a program about 0.2 ms at every start, so of the
// packages below tunnel only cli/route imports it, which gives a client.Client its
// Negotiator.
package kerberos

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"culvert/tunnel/client"
	"culvert/tunnel/internal/textfile"

	krb5 "github.com/jcmturner/gokrb5/v8/client"
	"github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/credentials"
	"github.com/jcmturner/gokrb5/v8/keytab"
)

// Source is where the tickets of a user come from: a keytab, or else the credential
// cache that kinit filled. The zero Source is the one that the environment names. A
// Source must not be copied after its first use. Negotiator is safe for concurrent use.
type Source struct {
	// Keytab is a file of keys, and Principal names the one to use, as
	// host/a.corp@CORP. An empty Keytab means KRB5_CLIENT_KTNAME if there is a
	// Principal, else the cache.
	Keytab, Principal string

	// Cache is FILE:PATH or PATH; "" = KRB5CCNAME, else /tmp/krb5cc_UID.
	Cache string

	// Config is the path of krb5.conf; "" = KRB5_CONFIG, else /etc/krb5.conf.
	Config string

	// Timeout limits the wait for the KDC; 0 = DefaultTimeout.
	Timeout time.Duration

	mu     sync.Mutex
	client *krb5.Client // nil = the tickets were not read yet
	user   string
}

// DefaultTimeout is how long the KDC may take to answer.
const DefaultTimeout = 10 * time.Second

// Negotiator returns a Negotiator for one login at the proxy with a host name, which is
// the one that the user wrote: the service is HTTP/host. Errors are *client.LoginError.
// The method is a value for client.Client.Negotiate.
func (s *Source) Negotiator(host string) (client.Negotiator, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil {
		made, user, err := s.open()
		if err != nil {
			return nil, err
		}
		s.client, s.user = made, user
	}
	return &negotiation{client: s.client, user: s.user, service: "HTTP/" + strings.ToLower(host), timeout: cmp.Or(s.Timeout, DefaultTimeout)}, nil
}

// open reads the configuration and the keys or tickets of the user. It returns the
// user's principal too.
func (s *Source) open() (*krb5.Client, string, error) {
	path := cmp.Or(s.Config, os.Getenv("KRB5_CONFIG"), "/etc/krb5.conf")
	text, err := textfile.Read(path)
	var conf *config.Config
	if err == nil {
		conf, err = config.NewFromString(string(text))
	}
	var unsupported config.UnsupportedDirective
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "", &client.LoginError{Err: fmt.Errorf("this machine has no Kerberos configuration: there is no %s", path), Hint: "it is in the form of krb5.conf(5); KRB5_CONFIG names another place", Unset: true}
	case err != nil && !errors.As(err, &unsupported):
		return nil, "", &client.LoginError{Err: fmt.Errorf("the Kerberos configuration %s: %w", path, cause(err)), Hint: "it is in the form of krb5.conf(5)"}
	}
	if file := cmp.Or(s.Keytab, clientKeytab(s.Principal)); file != "" {
		return fromKeytab(file, s.Principal, conf)
	}
	return s.fromCache(conf)
}

// clientKeytab returns the keytab that the environment names, if there is a principal to
// use its key.
func clientKeytab(principal string) string {
	if principal == "" {
		return ""
	}
	return strings.TrimPrefix(os.Getenv("KRB5_CLIENT_KTNAME"), "FILE:")
}

func fromKeytab(file, principal string, conf *config.Config) (*krb5.Client, string, error) {
	keys, err := keytab.Load(file)
	if err != nil {
		return nil, "", &client.LoginError{Err: fmt.Errorf("the keytab %s: %w", file, cause(err)), Hint: "ktutil or kadmin make one"}
	}
	name, realm, ok := strings.Cut(principal, "@")
	if !ok {
		realm = conf.LibDefaults.DefaultRealm
	}
	if name == "" || realm == "" {
		return nil, "", &client.LoginError{Err: fmt.Errorf("the keytab %s: it is not known whose key to use", file), Hint: "name it with --principal NAME@REALM"}
	}
	return krb5.NewWithKeytab(name, realm, keys, conf, krb5.DisablePAFXFAST(true)), name + "@" + realm, nil
}

func (s *Source) fromCache(conf *config.Config) (*krb5.Client, string, error) {
	name := cmp.Or(s.Cache, os.Getenv("KRB5CCNAME"), fmt.Sprintf("/tmp/krb5cc_%d", os.Getuid()))
	path := strings.TrimPrefix(name, "FILE:")
	if kind, _, ok := strings.Cut(path, ":"); ok && len(kind) > 1 && !strings.Contains(kind, "/") {
		return nil, "", &client.LoginError{Err: fmt.Errorf("the credential cache %s is of kind %s, of which only its own programs know the inside", name, kind),
			Hint: "make one in a file: KRB5CCNAME=FILE:/tmp/krb5cc_$(id -u) kinit, and set KRB5CCNAME so for culvert"}
	}
	cache, err := credentials.LoadCCache(path)
	if err != nil {
		return nil, "", &client.LoginError{Err: fmt.Errorf("there is no ticket in %s: %w", path, cause(err)), Hint: "get one with kinit"}
	}
	user := cache.DefaultPrincipal.PrincipalName.PrincipalNameString() + "@" + cache.DefaultPrincipal.Realm
	made, err := krb5.NewFromCCache(cache, conf, krb5.DisablePAFXFAST(true))
	if err != nil {
		return nil, "", &client.LoginError{Err: fmt.Errorf("the tickets of %s in %s: %w", user, path, err), Hint: "get new ones with kinit"}
	}
	return made, user, nil
}

// cause removes the path from an error, as the message names it already.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
