package proxy

import (
	"encoding/base64"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/policy"
)

func TestBasicCredentials(t *testing.T) {
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, tt := range []struct {
		name           string
		values         []string
		user, password string
		ok             bool
	}{
		{"plain", []string{"Basic " + encode("alice:secret")}, "alice", "secret", true},
		{"scheme in capitals", []string{"BASIC " + encode("alice:secret")}, "alice", "secret", true},
		{"spaces before and behind", []string{"Basic   " + encode("alice:secret") + " "}, "alice", "secret", true},
		{"colon in the password", []string{"Basic " + encode("alice:se:cr:et")}, "alice", "se:cr:et", true},
		{"empty password", []string{"Basic " + encode("alice:")}, "alice", "", true},
		{"UTF-8", []string{"Basic " + encode("älice:päss")}, "älice", "päss", true},
		{"no colon", []string{"Basic " + encode("alice")}, "", "", false},
		{"no padding", []string{"Basic " + strings.TrimRight(encode("alice:secret1"), "=")}, "", "", false},
		{"no base64", []string{"Basic alice:secret"}, "", "", false},
		{"scheme only", []string{"Basic"}, "", "", false},
		{"another scheme", []string{"Bearer " + encode("alice:secret")}, "", "", false},
		{"two fields", []string{"Basic " + encode("alice:secret"), "Basic " + encode("bob:secret")}, "", "", false},
		{"the same twice", []string{"Basic " + encode("alice:secret"), "Basic " + encode("alice:secret")}, "", "", false},
	} {
		user, password, ok := parseBasic(tt.values)
		if ok != tt.ok || ok && (user != tt.user || password != tt.password) {
			t.Errorf("%s: %q, %q, %v", tt.name, user, password, ok)
		}
	}
}

// RFC 9110, section 15.5.8, and RFC 7617, section 2.
func TestServerAsksForCredentials(t *testing.T) {
	ts := startServer(t, &Server{Verifier: mustUsers(t, "alice:"+hashes["SHA"]), Realm: `the "realm"`, Resolver: testkit.FailToResolve(testkit.NoSuchName)})
	for _, fields := range [][]string{
		nil,
		{testkit.Basic("alice", "wrong")},
		{testkit.Basic("bob", "correct horse")},
		{"Authorization: Basic " + strings.TrimPrefix(testkit.Basic("alice", "correct horse"), "Proxy-Authorization: Basic ")},
		{testkit.Basic("alice", "correct horse"), testkit.Basic("alice", "correct horse")},
	} {
		a := ts.Ask(proxytest.ConnectHead("example.test:443", fields...))
		rec := ts.CheckRefusal(a, 407, "http_request_denied")
		if got, want := a.Header.Get("Proxy-Authenticate"), `Basic realm="the \"realm\"", charset="UTF-8"`; got != want {
			t.Errorf("Proxy-Authenticate: %q, want %q", got, want)
		}
		rule := "credentials refused"
		if len(fields) == 0 || strings.HasPrefix(fields[0], "Authorization") {
			rule = "credentials missing"
		}
		rec.Want(t, "rule", rule)
	}
	a := ts.Ask(proxytest.ConnectHead("example.test:443", testkit.Basic("alice", "correct horse")))
	ts.CheckRefusal(a, 502, "dns_error").Want(t, "user", "alice")
}

// Without a Verifier credentials are ignored, and name no user.
func TestServerWithoutUsersIgnoresCredentials(t *testing.T) {
	ts := startServer(t, &Server{Resolver: testkit.FailToResolve(testkit.NoSuchName)})
	a := ts.Ask(proxytest.ConnectHead("example.test:443", testkit.Basic("alice", "x"), testkit.Basic("bob", "x")))
	ts.CheckRefusal(a, 502, "dns_error").WantAbsent(t, "user")
}

// A failure delays the next attempts of the same client address, and never a verified
// login.
func TestFailuresDelayAttemptsOfTheirAddressOnly(t *testing.T) {
	s := &Server{Verifier: proxytest.OneUser{User: "alice", Password: "secret"}, Policy: policy.Policy{Allow: []policy.Pattern{}}}
	serverInBubble(t, s, func(t *testing.T, l *proxytest.FakeListener, log *proxytest.AccessLog) {
		answered := func(from, password string) (int, time.Duration) {
			start := time.Now()
			conn := l.Connect(t, from)
			testkit.Send(t, conn, proxytest.ConnectHead("example.test:443", testkit.Basic("alice", password)))
			testkit.HalfClose(t, conn)
			return proxytest.ReadAnswer(t, conn).Status, time.Since(start)
		}
		for i, want := range []time.Duration{0, 0, 0, 0, 250 * time.Millisecond, 500 * time.Millisecond} {
			if status, took := answered("192.0.2.1:5", "wrong"); status != 407 || took != want {
				t.Errorf("failure %d: status %d after %v, want 407 after %v", i+1, status, took, want)
			}
		}
		if status, took := answered("192.0.2.2:5", "wrong"); status != 407 || took != 0 {
			t.Errorf("another client's failure: status %d after %v, want 407 at once", status, took)
		}
		if status, took := answered("192.0.2.2:5", "secret"); status != 403 || took != 0 {
			t.Errorf("the right password: status %d after %v, want 403 at once", status, took)
		}
	})
}

// An attempt that waits does not delay Close.
func TestWaitingLoginsEndWithTheServer(t *testing.T) {
	s := &Server{Verifier: proxytest.OneUser{User: "alice", Password: "secret"}}
	serverInBubble(t, s, func(t *testing.T, l *proxytest.FakeListener, _ *proxytest.AccessLog) {
		for range 10 {
			conn := l.Connect(t, "192.0.2.1:5")
			testkit.Send(t, conn, proxytest.ConnectHead("example.test:443", testkit.Basic("alice", "wrong")))
		}
		synctest.Wait()
		start := time.Now()
		s.Close()
		if took := time.Since(start); took != 0 {
			t.Errorf("Close took %v", took)
		}
	})
}

// Hashing must leave a processor for the tunnels, if there are more than two.
func TestUsersHashOnFewerProcessorsThanThereAre(t *testing.T) {
	if got, want := cap(mustUsers(t, "alice:"+hashes["SHA"]).busy), max(min(2, runtime.NumCPU()), runtime.NumCPU()-1); got != want {
		t.Errorf("%d hashes at once, want %d", got, want)
	}
}

// A client that guesses the pseudonym gets the challenge, as for any request.
func TestVerifyComesBeforeTheLoopCheck(t *testing.T) {
	ts := startServer(t, &Server{Name: "me", Verifier: proxytest.OneUser{User: "u", Password: "pw"}})
	ts.Refused(proxytest.ConnectHead("a.test:443", "Via: 1.1 me"), 407, "http_request_denied")
}

// A remembered password is no oracle: from an address where its user has not logged in,
// right and wrong guesses both wait for their turn.
func TestRememberedLoginsAreNoOracle(t *testing.T) {
	users := mustUsers(t, "alice:"+hashes["SHA"])
	s := &Server{Verifier: users}
	s.init()
	defer s.run.cancel()
	try := func(from, password string) (int, error) {
		credentials := []string{strings.TrimPrefix(testkit.Basic("alice", password), "Proxy-Authorization: ")}
		_, e := s.verifyCredentials(requestInfo{client: netip.MustParseAddr(from), credentials: credentials})
		if e == nil {
			return 200, nil
		}
		return e.HTTPStatus(), e
	}
	if status, err := try("192.0.2.1", "correct horse"); status != 200 {
		t.Fatal(err)
	}
	if !s.run.known.has(netip.MustParseAddr("192.0.2.1"), "alice") || s.run.known.has(netip.MustParseAddr("192.0.2.2"), "alice") {
		t.Error("it is not known where alice has logged in")
	}
	for range 6 {
		_, _ = s.run.logins.Do(t.Context(), netip.MustParseAddr("192.0.2.2"), 1, func() bool { return false })
	}
	start := time.Now()
	if status, err := try("192.0.2.2", "correct horse"); status != 200 {
		t.Error(err)
	}
	if time.Since(start) < 100*time.Millisecond {
		t.Error("the guess did not wait for its turn")
	}
}
