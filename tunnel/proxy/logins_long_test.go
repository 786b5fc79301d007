package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/testkit"

	"golang.org/x/crypto/bcrypt"
)

// Under a flood of wrong passwords from 200 addresses, over kept connections and as fast as
// they come, good users log in anew. It takes minutes: CULVERT_LONG=1 runs it.
func TestLoginsUnderAFlood(t *testing.T) {
	if os.Getenv("CULVERT_LONG") == "" {
		t.Skip("it takes minutes; CULVERT_LONG=1 runs it")
	}
	for _, tt := range []struct {
		cost  int
		p99   time.Duration
		worst time.Duration
	}{{5, time.Second, 30 * time.Second}, {12, 30 * time.Second, 30 * time.Second}} {
		t.Run(fmt.Sprint("cost ", tt.cost), func(t *testing.T) {
			const users, attackers = 50, 200
			var file strings.Builder
			for i := range users {
				hash, err := bcrypt.GenerateFromPassword([]byte(fmt.Sprint("right", i)), tt.cost)
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(&file, "user%d:%s\n", i, hash)
			}
			verifier := mustUsers(t, file.String())
			l := testkit.Listen(t, "127.0.0.1:0")
			s := &Server{Verifier: forgetful{verifier}, Resolver: testkit.FailToResolve(testkit.NoSuchName)}
			served := make(chan error, 1)
			go func() { served <- s.Serve(l) }()
			defer func() {
				s.Close()
				<-served
			}()
			proxy := l.Addr().String()
			over := time.Now().Add(time.Minute)
			var wrong atomic.Int64
			var all sync.WaitGroup
			for i := range attackers {
				for range 5 { // connections
					all.Go(func() { flood(proxy, fmt.Sprintf("127.0.1.%d", i+1), over, &wrong) })
				}
			}
			var mu sync.Mutex
			var took []time.Duration
			for i := range users {
				all.Go(func() {
					for next := time.Now().Add(time.Duration(i) * 10 * time.Second / users); next.Before(over); next = next.Add(10 * time.Second) {
						time.Sleep(time.Until(next))
						start := time.Now()
						status := loginFrom(proxy, "127.0.2.1", testkit.Basic(fmt.Sprint("user", i), fmt.Sprint("right", i)))
						mu.Lock()
						took = append(took, time.Since(start))
						mu.Unlock()
						if status != http.StatusBadGateway { // the name does not exist
							t.Errorf("user %d got status %d after %v", i, status, time.Since(start))
						}
					}
				})
			}
			all.Wait()
			slices.Sort(took)
			p99, worst := took[len(took)*99/100], took[len(took)-1]
			t.Logf("cost %d: %d wrong passwords a second; %d good logins: median %v, p99 %v, worst %v", tt.cost, wrong.Load()/60, len(took), took[len(took)/2], p99, worst)
			if p99 > tt.p99 || worst > tt.worst {
				t.Errorf("good logins: p99 %v, worst %v", p99, worst)
			}
		})
	}
}

// forgetful is Users that remember nothing.
type forgetful struct{ *Users }

func (forgetful) Remembers(string, string) bool { return false }

func (f forgetful) Verify(user, password string) bool {
	ok := f.Users.Verify(user, password)
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.cache)
	return ok
}

// flood sends wrong passwords from an address until over.
func flood(proxy, from string, over time.Time, sent *atomic.Int64) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	for n := 0; time.Now().Before(over); n++ {
		conn, err := d.Dial("tcp", proxy)
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		conn.SetDeadline(over)
		fmt.Fprintf(conn, "GET http://a.test/ HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", testkit.Basic(fmt.Sprint("user", n%50), fmt.Sprint("wrong", n)))
		if reply, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
			_, _ = io.Copy(io.Discard, reply.Body)
			sent.Add(1)
		}
		conn.Close()
	}
}

// loginFrom logs in from an address, and returns the status of the answer.
func loginFrom(proxy, from, credentials string) int {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp", proxy)
	if err != nil {
		return 0
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	io.WriteString(conn, proxytest.ConnectHead("a.test:443", credentials))
	reply, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0
	}
	return reply.StatusCode
}
