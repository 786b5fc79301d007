package proxy

import (
	"strings"
	"testing"

	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/policy"
	"culvert/tunnel/tunneltest"
)

// A new policy counts for the next request, on connections that were there before too.
// Open tunnels stay. The listener's defaults apply to it as well.
func TestSetPolicy(t *testing.T) {
	ts := startServer(t, &Server{})
	target := tunneltest.Start(t, tunneltest.Echo).Addr()
	tunnel := ts.Open(target)
	open := policy.Policy{Allow: []policy.Pattern{proxytest.MustPattern(t, "*:*")}}
	ts.server.SetPolicy(&policy.Policy{Deny: []policy.Pattern{proxytest.MustPattern(t, "127.0.0.1")}})
	ts.Refused(proxytest.ConnectHead(target), 403, "http_request_denied")
	ts.server.SetPolicy(open.With(policy.Rules{DenyAddr: []policy.AddrRule{policy.ClassRule(policy.ClassLoopback)}}))
	ts.Refused(proxytest.ConnectHead(target), 403, "destination_ip_prohibited")
	ts.server.SetPolicy(&open)
	second := ts.Open(target) // loopback is allowed here by default
	for _, conn := range []interface {
		Write([]byte) (int, error)
		Read([]byte) (int, error)
	}{tunnel, second} {
		if _, err := conn.Write([]byte("?")); err != nil {
			t.Error(err)
		}
		if n, err := conn.Read(make([]byte, 1)); n != 1 {
			t.Errorf("a tunnel ended: %v", err)
		}
	}
}

// A connection to an origin that is kept for further requests is none for a target that
// has become forbidden, by name or by address.
func TestSetPolicyForbidsAKeptConnection(t *testing.T) {
	for name, forbidden := range map[string]policy.Rules{
		"by name":    {Deny: []policy.Pattern{proxytest.MustPattern(t, "origin.test")}},
		"by address": {DenyAddr: []policy.AddrRule{policy.ClassRule(policy.ClassLoopback)}},
	} {
		t.Run(name, func(t *testing.T) {
			p := plainTestWith(t, &Server{Resolver: testkit.ResolveTo("127.0.0.1")})
			_, port, _ := strings.Cut(p.origin.addr, ":")
			get := "GET http://origin.test:" + port + "/ HTTP/1.1\r\nHost: x\r\n\r\n"
			client := p.begin(get)
			origin := p.origin.accept()
			origin.head()
			origin.send(okHello)
			client.expect(helloHere)
			p.logged(200, 0, 5)
			p.ts.server.SetPolicy(p.ts.server.Policy.With(forbidden))
			client.send(get)
			if status := client.line(); !strings.HasPrefix(status, "HTTP/1.1 403") {
				t.Errorf("the client got %q", status)
			}
			origin.ended()
		})
	}
}

// Nor may a connection that was busy when the policy changed carry another request.
func TestSetPolicyForbidsABusyConnection(t *testing.T) {
	p := newPlainTest(t)
	client, origin, _ := p.exchange(simpleGet)
	p.ts.server.SetPolicy(&policy.Policy{Allow: []policy.Pattern{proxytest.MustPattern(t, "*:*")}, DenyAddr: []policy.AddrRule{policy.ClassRule(policy.ClassLoopback)}})
	origin.send(okHello)
	client.expect(helloHere)
	p.logged(200, 0, 5)
	client.send(p.fill(simpleGet))
	p.ts.CheckRefusal(proxytest.ReadAnswer(t, client.Conn), 403, "destination_ip_prohibited")
	origin.ended()
}

// Policies may be set while requests are judged.
func TestSetPolicyWhileRequestsAreJudged(t *testing.T) {
	ts := startServer(t, &Server{})
	ln := &listener{Listener: &proxytest.FakeListener{At: ts.Dial().LocalAddr()}, server: ts.server}
	policies := []*policy.Policy{
		{Allow: []policy.Pattern{proxytest.MustPattern(t, "a.test")}},
		{Allow: []policy.Pattern{proxytest.MustPattern(t, "*")}, Deny: []policy.Pattern{proxytest.MustPattern(t, "b.test")}},
	}
	ts.server.SetPolicy(policies[0])
	set := make(chan struct{})
	go func() {
		defer close(set)
		for i := range 1000 {
			ts.server.SetPolicy(policies[i%2])
		}
	}()
	for judging := true; judging; {
		if !ln.rules().JudgeTarget(testkit.MustAuthority(t, "a.test:443")).Allowed || ln.rules().JudgeTarget(testkit.MustAuthority(t, "b.test:443")).Allowed {
			t.Fatal("neither of the two policies was applied")
		}
		select {
		case <-set:
			judging = false
		default:
		}
	}
}
