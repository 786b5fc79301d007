package resolve

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"culvert/tunnel/internal/testkit"

	"golang.org/x/net/dns/dnsmessage"
)

// asked notes the questions to a name server.
type asked struct {
	mu   sync.Mutex
	list []testkit.DNSQuestion
}

func (a *asked) note(q testkit.DNSQuestion) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.list = append(a.list, q)
}

// take returns the questions since the last call, as "NAME A" or "NAME AAAA", with
// "+EDNS" and "/TCP".
func (a *asked) take() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var words []string
	for _, q := range a.list {
		word := q.Name + map[bool]string{true: " AAAA", false: " A"}[q.IPv6]
		if q.EDNS {
			word += "+EDNS"
		}
		if q.TCP {
			word += "/TCP"
		}
		words = append(words, word)
	}
	a.list = nil
	return strings.Join(words, ", ")
}

// What name servers answer, and fail to.
func TestSystemAsksNameServers(t *testing.T) {
	if !testkit.InNamespace(t) {
		return
	}
	old := func(code dnsmessage.RCode, headerOnly bool) func(q testkit.DNSQuestion) testkit.DNSReply {
		return func(q testkit.DNSQuestion) testkit.DNSReply {
			if q.EDNS {
				return testkit.DNSReply{RCode: code, HeaderOnly: headerOnly}
			}
			return testkit.DNSReply{Addrs: []string{"192.0.2.1"}}
		}
	}
	zone := map[string]func(testkit.DNSQuestion) testkit.DNSReply{
		"plain.test":   func(testkit.DNSQuestion) testkit.DNSReply { return testkit.DNSReply{Addrs: []string{"192.0.2.1"}} },
		"formerr.test": old(dnsmessage.RCodeFormatError, false),
		"bare.test":    old(dnsmessage.RCodeFormatError, true),
		"notimp.test":  old(dnsmessage.RCodeNotImplemented, false),
		"nodata.test":  func(testkit.DNSQuestion) testkit.DNSReply { return testkit.DNSReply{} },
		"servfail.test": func(testkit.DNSQuestion) testkit.DNSReply {
			return testkit.DNSReply{RCode: dnsmessage.RCodeServerFailure}
		},
		"alias.test": func(testkit.DNSQuestion) testkit.DNSReply {
			return testkit.DNSReply{Alias: "far.test", Addrs: []string{"192.0.2.2"}}
		},
		"truncated.test": func(testkit.DNSQuestion) testkit.DNSReply {
			return testkit.DNSReply{Truncated: true, Addrs: []string{"192.0.2.3"}}
		},
		"oldtcp.test": func(q testkit.DNSQuestion) testkit.DNSReply {
			if q.EDNS {
				return testkit.DNSReply{RCode: dnsmessage.RCodeFormatError}
			}
			return testkit.DNSReply{Truncated: true, Addrs: []string{"192.0.2.4"}}
		},
		"oldtcponly.test": func(q testkit.DNSQuestion) testkit.DNSReply {
			if q.EDNS && q.TCP {
				return testkit.DNSReply{RCode: dnsmessage.RCodeFormatError}
			}
			return testkit.DNSReply{Truncated: true, Addrs: []string{"192.0.2.5"}}
		},
	}
	var questions asked
	testkit.NameServer(t, "options attempts:1\n", func(q testkit.DNSQuestion) testkit.DNSReply {
		questions.note(q)
		if answer := zone[q.Name]; answer != nil {
			return answer(q)
		}
		return testkit.NoName
	})
	testkit.ReplaceFile(t, "/etc/hosts", "127.0.0.9 hosts.test short\n::9 six.test\n")
	var open, opened atomic.Int32
	r := &Resolver{Hold: func() (func(), error) {
		open.Add(1)
		opened.Add(1)
		return func() { open.Add(-1) }, nil
	}}
	for _, tt := range []struct{ name, network, want, questions string }{
		{"plain.test", "ip4", "[192.0.2.1]", "plain.test A+EDNS"},
		{"formerr.test", "ip4", "[192.0.2.1]", "formerr.test A+EDNS, formerr.test A"},
		{"bare.test", "ip4", "[192.0.2.1]", "bare.test A+EDNS, bare.test A"},
		{"notimp.test", "ip4", "[192.0.2.1]", "notimp.test A+EDNS, notimp.test A"},
		{"nodata.test", "ip4", "nodata", "nodata.test A+EDNS"},
		{"plain.test", "ip6", "nodata", "plain.test AAAA+EDNS"},
		{"none.test", "ip4", "nxdomain", "none.test A+EDNS"},
		{"servfail.test", "ip4", "servfail", "servfail.test A+EDNS"},
		{"alias.test", "ip4", "[192.0.2.2]", "alias.test A+EDNS"},
		{"truncated.test", "ip4", "[192.0.2.3]", "truncated.test A+EDNS, truncated.test A+EDNS/TCP"},
		{"oldtcp.test", "ip4", "[192.0.2.4]", "oldtcp.test A+EDNS, oldtcp.test A, oldtcp.test A/TCP"},
		{"oldtcponly.test", "ip4", "[192.0.2.5]", "oldtcponly.test A+EDNS, oldtcponly.test A+EDNS/TCP, oldtcponly.test A/TCP"},
		{"hosts.test", "ip4", "[127.0.0.9]", ""},
		{"hosts.test", "ip6", "nodata", ""},
		{"six.test", "ip6", "[::9]", ""},
		{"short", "ip4", "[127.0.0.9]", ""},
		{"short", "ip", "[127.0.0.9]", ""},
	} {
		addrs, err := r.LookupNetIP(context.Background(), tt.network, tt.name)
		got := fmt.Sprint(addrs)
		if err != nil {
			got = describe(err)
		}
		if questions := questions.take(); got != tt.want || questions != tt.questions {
			t.Errorf("%s of %s: %s (%v), asked %s; want %s, %s", tt.network, tt.name, got, err, questions, tt.want, tt.questions)
		}
	}
	if open.Load() != 0 || opened.Load() == 0 {
		t.Errorf("%d of %d descriptors are held", open.Load(), opened.Load())
	}

	short := errors.New("too many descriptors")
	full := &Resolver{Hold: func() (func(), error) { return nil, short }}
	for _, name := range []string{"plain.test", "plain"} {
		if _, err := full.LookupNetIP(context.Background(), "ip", name); err != short {
			t.Errorf("%s without a descriptor: %v", name, err)
		}
	}
	if q := questions.take(); q != "" {
		t.Errorf("without a descriptor it asked %s", q)
	}
}

// A look-up for which nobody waits any more holds nothing, though the name server is
// mute, and beside many of them others are answered.
func TestSystemLookUpsEndWithThoseWhoAsked(t *testing.T) {
	if !testkit.InNamespace(t) {
		return
	}
	const mute = 60 // what the name server's socket takes at once
	heard := make(chan struct{}, 4*mute)
	// Package net would wait for each reply as long as this says.
	testkit.NameServer(t, "options timeout:30\n", func(q testkit.DNSQuestion) testkit.DNSReply {
		if strings.HasPrefix(q.Name, "mute") {
			heard <- struct{}{}
			return testkit.DNSReply{Mute: true}
		}
		return testkit.DNSReply{Addrs: []string{"192.0.2.1", "2001:db8::1"}}
	})
	var open atomic.Int32
	gone := make(chan struct{}, 4*mute)
	r := &Resolver{Hold: func() (func(), error) {
		open.Add(1)
		return func() { open.Add(-1); gone <- struct{}{} }, nil
	}}
	ctx, leave := context.WithCancel(context.Background())
	var asking sync.WaitGroup
	for i := range mute {
		asking.Go(func() {
			if _, err := r.LookupNetIP(ctx, "ip", fmt.Sprintf("mute%d.test", i)); err == nil {
				t.Error("a mute name server answered")
			}
		})
	}
	for range 2 * mute {
		testkit.Receive(t, "a question", heard)
	}
	threads := threads(t)
	if addrs, err := r.LookupNetIP(context.Background(), "ip4", "quick.test"); err != nil || len(addrs) != 1 {
		t.Errorf("beside %d mute look-ups: %v, %v", mute, addrs, err)
	}
	if threads > 60 {
		t.Errorf("%d look-ups hold %d threads", mute, threads)
	}
	leave()
	asking.Wait()
	left := time.After(20 * time.Second)
	for open.Load() > 0 {
		select {
		case <-gone:
		case <-left:
			t.Fatalf("%d descriptors are held after all have left", open.Load())
		}
	}
}

func threads(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// The search list is that of the machine, read anew each time.
func TestSystemSearchList(t *testing.T) {
	if !testkit.InNamespace(t) {
		return
	}
	var questions asked
	testkit.NameServer(t, "search a.test b.test.\noptions ndots:2\n", func(q testkit.DNSQuestion) testkit.DNSReply {
		questions.note(q)
		if q.Name == "web.b.test" {
			return testkit.DNSReply{Addrs: []string{"192.0.2.1"}}
		}
		return testkit.NoName
	})
	testkit.ReplaceFile(t, "/etc/hosts", "127.0.0.1 localhost\n")
	f, err := System.Find(context.Background(), "ip4", "web", nil)
	if err != nil || f.Name != "web.b.test" || fmt.Sprint(f.Addrs) != "[192.0.2.1]" {
		t.Errorf("%+v, %v", f, err)
	}
	if got, want := questions.take(), "web.a.test A+EDNS, web.b.test A+EDNS"; got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
	if _, err := System.Find(context.Background(), "ip4", "web.b", nil); !IsAbsent(err) || questions.take() != "web.b A+EDNS" {
		t.Errorf("a name with a dot was completed: %v", err)
	}
	if !System.HasSearchList() {
		t.Error("it has a search list")
	}
	testkit.ReplaceFile(t, "/etc/resolv.conf", "nameserver 127.0.0.1\nsearch c.test\noptions ndots:0\n")
	if _, err := System.Find(context.Background(), "ip4", "web", nil); !IsAbsent(err) {
		t.Error(err)
	}
	if got, want := questions.take(), "web A+EDNS, web.c.test A+EDNS"; got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
	denied := errors.New("denied")
	if _, err := System.Find(context.Background(), "ip4", "vault", func(string) error { return denied }); err != denied || questions.take() != "vault A+EDNS" {
		t.Errorf("judged: %v", err)
	}
}
