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
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
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

	mu   sync.Mutex
	user string                // "" = the configuration was not read yet
	held map[string]heldTicket // by service
}

// heldTicket is a ticket for a service that will be used again.
type heldTicket struct {
	ticket messages.Ticket
	key    types.EncryptionKey // the session key
	realm  string              // of the user
	name   types.PrincipalName // of the user
	until  time.Time           // when it is asked for anew
}

// holdTicket is how long a ticket is used without looking at the cache or asking the KDC
// again. It is less than the difference of clocks that services allow (RFC 4120, section
// 8.2), so that a ticket which expires meanwhile still does.
const holdTicket = time.Minute

// DefaultTimeout is how long the KDC may take to answer.
const DefaultTimeout = 10 * time.Second

// Negotiator returns a Negotiator for one login at the proxy with a host name, which is
// the one that the user wrote: the service is HTTP/host. Errors are *client.LoginError.
// The method is a value for client.Client.Negotiate.
func (s *Source) Negotiator(host string) (client.Negotiator, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.user == "" {
		made, user, err := s.open()
		if err != nil {
			return nil, err
		}
		made.Destroy()
		s.user = user
	}
	return &negotiation{source: s, user: s.user, service: "HTTP/" + strings.ToLower(host), timeout: cmp.Or(s.Timeout, DefaultTimeout)}, nil
}

// ticket returns a ticket for a service, from the KDC unless one is held or in the
// cache. It makes a client of the library for the one purpose: a client that has logged in
// renews its ticket on a goroutine of its own, where nothing would recover from the
// library's panics.
func (s *Source) ticket(service string) (heldTicket, error) {
	s.mu.Lock()
	held, ok := s.held[service]
	s.mu.Unlock()
	if ok && time.Now().Before(held.until) {
		return held, nil
	}
	c, _, err := s.open()
	if err != nil {
		return heldTicket{}, err
	}
	defer c.Destroy()
	held = heldTicket{realm: c.Credentials.Domain(), name: c.Credentials.CName(), until: time.Now().Add(holdTicket)}
	if held.ticket, held.key, err = c.GetServiceTicket(service); err != nil {
		return heldTicket{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		s.held = make(map[string]heldTicket)
	}
	s.held[service] = held
	return held, nil
}

// open reads the configuration and the keys or tickets of the user. It returns the
// user's principal too. The caller destroys the client.
func (s *Source) open() (c *krb5.Client, user string, err error) {
	var broken error
	defer func() {
		if broken != nil {
			c, err = nil, &client.LoginError{Err: broken, Hint: "make them anew: the cache with kinit, a keytab with ktutil or kadmin"}
		}
	}()
	defer guard(&broken, "one of the Kerberos files")
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
