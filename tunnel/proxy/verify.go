package proxy

import (
	"encoding/base64"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/internal/wire"
	"culvert/tunnel/listen"
)

// Verifier checks a user name and a password. It is called from many
// goroutines at once. If it also has a method Remembers, as Users has, that is
// called first: it returns true for a pair that is known to be right without
// computing a hash.
type Verifier interface {
	Verify(user, password string) bool
}

// verify returns the user that a client is, by its certificate or else by its
// credentials. Where only a certificate would do, there is no challenge.
func (at *listening) verify(a asked) (user string, e *tunnel.Error) {
	switch {
	case a.user != "":
		return a.user, nil
	case at.server.Verifier == nil && listen.VerifiesClients(at.Listener):
		return "", &tunnel.Error{Phase: tunnel.PhaseVerify, Type: tunnel.ErrorDenied, Rule: "client certificate missing",
			Detail: "this proxy wants a client certificate"}
	}
	return at.server.verify(a.credentials, a.client)
}

// verify returns the user that a client is by its Proxy-Authorization values (RFC
// 9110, section 11.7; RFC 7617). Without a Verifier they are ignored. Wrong
// credentials are answered late if there were many; right ones never are.
func (s *Server) verify(values []string, from netip.Addr) (string, *tunnel.Error) {
	if s.Verifier == nil {
		return "", nil
	}
	if len(values) == 0 {
		return "", credentialsError("credentials missing", "this proxy wants a user name and a password")
	}
	user, password, ok := parseBasic(values)
	if ok && s.verifies(user, password, from) {
		return user, nil
	}
	s.run.throttle.failed(s.run.ctx.Done(), from)
	return "", credentialsError("credentials refused", "the user name or the password is wrong")
}

// verifies asks the Verifier: at once what it remembers. Otherwise an address that
// has failed before waits for its own earlier attempts, so that for a flood of
// wrong passwords from there one hash at a time is computed.
func (s *Server) verifies(user, password string, from netip.Addr) bool {
	if r, ok := s.Verifier.(interface {
		Remembers(user, password string) bool
	}); ok && r.Remembers(user, password) {
		return true
	}
	leave, ok := s.run.throttle.enter(s.run.ctx.Done(), from)
	if !ok {
		return false
	}
	defer leave()
	return s.Verifier.Verify(user, password)
}

func credentialsError(rule, detail string) *tunnel.Error {
	return &tunnel.Error{Phase: tunnel.PhaseVerify, Type: tunnel.ErrorCredentials, Status: http.StatusProxyAuthRequired, Rule: rule, Detail: detail}
}

// challenge returns the Proxy-Authenticate value, with the charset parameter of RFC
// 7617, section 2.1.
func (s *Server) challenge() string {
	realm := s.Realm
	if realm == "" {
		realm = "culvert"
	}
	var b strings.Builder
	b.WriteString("Basic realm=")
	wire.WriteQuoted(&b, realm) // a quoted-string with the same escapes
	b.WriteString(`, charset="UTF-8"`)
	return b.String()
}

// parseBasic parses the credentials field, of which there must be one.
func parseBasic(values []string) (user, password string, ok bool) {
	if len(values) != 1 {
		return "", "", false
	}
	scheme, encoded, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	decoded, err := base64.StdEncoding.DecodeString(strings.Trim(encoded, " "))
	if err != nil {
		return "", "", false
	}
	return strings.Cut(string(decoded), ":")
}

// throttle delays the answers to wrong credentials by client address, so that
// passwords cannot be tried at speed. Right credentials are never delayed.
type throttle struct {
	mu       sync.Mutex
	failures map[netip.Addr]failures
}

type failures struct {
	count int
	last  time.Time
	turn  chan struct{} // holds the one attempt that may be under way
}

// Bounds of the throttle.
const (
	freeFailures    = 3
	firstDelay      = 250 * time.Millisecond
	longestDelay    = 4 * time.Second
	failuresFor     = 5 * time.Minute // without a further one, they are forgotten
	throttleClients = 10_000
)

// throttleKey returns the client's address, or the /64 of an IPv6 one, since whoever
// has one address of that has them all.
func throttleKey(from netip.Addr) netip.Addr {
	if from.Is6() {
		return netip.PrefixFrom(from, 64).Masked().Addr()
	}
	return from
}

// enter waits until no other attempt of the client is under way, if it has failed
// before. It returns false if done was closed first.
func (t *throttle) enter(done <-chan struct{}, from netip.Addr) (leave func(), ok bool) {
	t.mu.Lock()
	turn := t.failures[throttleKey(from)].turn
	t.mu.Unlock()
	if turn == nil {
		return func() {}, true
	}
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, true
	case <-done:
		return nil, false
	}
}

// failed notes a failure, and waits for as long as the client's failures demand or
// until done is closed.
func (t *throttle) failed(done <-chan struct{}, from netip.Addr) {
	delay := t.delay(throttleKey(from), time.Now())
	if delay == 0 {
		return
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-done:
	}
}

func (t *throttle) delay(from netip.Addr, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failures == nil {
		t.failures = make(map[netip.Addr]failures)
	}
	f := t.failures[from]
	if now.Sub(f.last) > failuresFor {
		f.count = 0
	}
	f.count, f.last = f.count+1, now
	if f.turn == nil {
		f.turn = make(chan struct{}, 1)
	}
	if _, known := t.failures[from]; !known && len(t.failures) >= throttleClients {
		t.forget(now)
	}
	t.failures[from] = f
	if f.count <= freeFailures {
		return 0
	}
	return min(firstDelay<<min(f.count-freeFailures-1, 10), longestDelay)
}

// forget makes room: it drops old failures, and others if there are still too many.
func (t *throttle) forget(now time.Time) {
	for addr, f := range t.failures {
		if now.Sub(f.last) > failuresFor {
			delete(t.failures, addr)
		}
	}
	for addr := range t.failures {
		if len(t.failures) < throttleClients {
			return
		}
		delete(t.failures, addr)
	}
}
