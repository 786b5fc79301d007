//go:build unix

package realtest

import (
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"culvert/tunnel/tunneltest"
)

// rules are what a refusing proxy is to do.
type rules struct {
	open   string // the port on loopback that it may tunnel to; port 25 it denies
	asks   bool   // it wants ada's password
	bars   bool   // it serves clients from 10.0.0.1 only
	orphan bool   // the proxy behind it is dead
}

// refusingProxy is a real proxy in the table of refusals.
type refusingProxy struct {
	scheme  string // as it is spoken to; "" = http
	start   func(t *testing.T, r rules) (address string)
	classes string // those of more that it has, in one word each
}

// refusingProxies have these classes beyond the common ones. Left out are:
// no-name with cntlm, haproxy and stunnel, which only pass on what the proxy
// behind them says; bars with ncat and microsocks, which have no such rule for
// their proxies; silent with those that have no bound of their own on a
// connection, of which tinyproxy stands for all, and with trafficserver, which
// opens every tunnel before it connects, so that a refused target is an empty
// tunnel there; asks with privoxy and trafficserver, which know no logins, and
// with dante, whose users are the machine's.
var refusingProxies = map[string]refusingProxy{
	"serve":         {"", startRefusingServe, "no-name bars asks silent"},
	"squid":         {"", startRefusingSquid, "no-name bars asks silent"},
	"tinyproxy":     {"", startRefusingTinyproxy, "no-name bars asks silent"},
	"apache":        {"", startRefusingApache, "no-name bars asks silent"},
	"privoxy":       {"", startRefusingPrivoxy, "no-name bars orphan"},
	"ncat":          {"", startRefusingNcat, "no-name asks"},
	"trafficserver": {"", startRefusingTrafficServer, "no-name bars orphan"},
	"nghttpx":       {"", startRefusingNghttpx, "no-name bars asks orphan"},
	"cntlm":         {"", startRefusingCntlm, "bars asks orphan"},
	"haproxy":       {"https", startRefusingHaproxy, "bars asks orphan"},
	"stunnel":       {"https", startRefusingStunnel, "bars asks orphan"},
	"microsocks":    {"socks5h", startRefusingMicrosocks, "no-name asks"},
	"dante":         {"socks5h", startRefusingDante, "no-name bars silent"},
}

// otherSchemes are the classes for who takes the proxy for another one.
var otherSchemes = []struct{ class, scheme string }{
	{"HTTP", "http"}, {"TLS", "https"}, {"SOCKS", "socks5h"}, {"SOCKS4", "socks4a"}, {"HTTP/2", "h2c"},
}

// What dial says of the refusals of real proxies: a sentence, a hint, a code.
func TestRealRefusals(t *testing.T) {
	t.Parallel()
	want := refusals(t)
	for name, proxy := range refusingProxies {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they mostly wait
			c := refusalCheck{t: t, want: want, name: name, proxy: proxy, closed: portOf(tunneltest.Unused(t))}
			c.common()
			c.more()
		})
	}
}

// refusalCheck has one proxy refuse.
type refusalCheck struct {
	t            *testing.T
	want         map[string]string
	name, closed string // the port to which nobody listens
	proxy        refusingProxy
}

// common are the classes that every proxy has.
func (c refusalCheck) common() {
	open, denied := c.proxy.start(c.t, rules{open: c.closed}), "127.0.0.1:25"
	if c.has("no-name") {
		c.dial("no such name", open, "", "nowhere.invalid:"+c.closed)
	}
	if c.name == "squid" {
		denied = "127.0.0.9:25"
	}
	if c.name != "microsocks" { // it denies nothing
		c.dial("denied", open, "", denied)
	}
	c.dial("refused", open, "", c.target())
	for _, other := range otherSchemes {
		own := other.scheme == c.scheme()
		if socks4 := other.class == "SOCKS4" && c.scheme() != "socks5h"; !own && !socks4 {
			c.run(other.class, open, other.scheme+"://"+open, c.target())
		}
	}
}

// more are the classes that the proxy has beside.
func (c refusalCheck) more() {
	for class := range strings.FieldsSeq(c.proxy.classes) {
		r, target := rules{open: c.closed}, c.target()
		switch class {
		case "bars":
			r.bars = true
			c.dial("client not allowed", c.proxy.start(c.t, r), "", target)
		case "orphan":
			r.orphan = true
			c.dial("parent dead", c.proxy.start(c.t, r), "", target)
		case "asks":
			r.asks = true
			asks := c.proxy.start(c.t, r)
			c.dial("no password", asks, "", target)
			c.dial("wrong password", asks, "ada:babbage@", target)
		case "silent":
			target, _ = deaf(c.t)
			r.open = portOf(target)
			c.closed = r.open
			c.run("target silent", c.proxy.start(c.t, r), "", target)
		}
	}
}

func (c refusalCheck) has(class string) bool {
	return slices.Contains(strings.Fields(c.proxy.classes), class)
}

func (c refusalCheck) target() string { return "127.0.0.1:" + c.closed }

func (c refusalCheck) scheme() string {
	if c.proxy.scheme == "" {
		return "http"
	}
	return c.proxy.scheme
}

// dial asks the proxy as it wants to be spoken to.
func (c refusalCheck) dial(class, proxy, login, target string) {
	c.t.Helper()
	c.run(class, proxy, c.scheme()+"://"+login+proxy, target)
}

// run compares what dial says with the class's text.
func (c refusalCheck) run(class, proxy, named, target string) {
	c.t.Helper()
	if named == "" {
		named = c.scheme() + "://" + proxy
	}
	arg := []string{"dial", "-k", "-x", named, target}
	if !strings.HasPrefix(named, "https://") {
		arg = append(arg[:1], arg[2:]...)
	}
	checkRefusal(c.t, c.want, c.name+": "+class, proxy, c.closed, arg)
}

// Refusals that are no one proxy's.
func TestRealRefusalsOfOthers(t *testing.T) {
	t.Parallel()
	want, closed := refusals(t), portOf(tunneltest.Unused(t))
	apache := "127.0.0.1:" + freePort(t)
	startApache(t, apache, "", "")
	ssh := "127.0.0.1:" + startSSHD(t).port // nobody else's: it gets garbage
	silent, _ := deaf(t)
	for _, tt := range []struct{ class, scheme, proxy string }{
		{"dead proxy", "http", tunneltest.Unused(t)},
		{"dead TLS proxy", "https", tunneltest.Unused(t)},
		{"dead SOCKS proxy", "socks5h", tunneltest.Unused(t)},
		{"silent proxy", "http", silent},
		{"web server", "http", apache},
		{"web server as SOCKS", "socks5h", apache},
		{"sshd", "http", ssh},
		{"sshd as TLS", "https", ssh},
		{"sshd as SOCKS", "socks5h", ssh},
		{"sshd as SOCKS4", "socks4a", ssh},
		{"sshd as HTTP/2", "h2c", ssh},
	} {
		t.Run(tt.class, func(t *testing.T) {
			t.Parallel()
			checkRefusal(t, want, "none: "+tt.class, tt.proxy, closed, []string{"dial", "-x", tt.scheme + "://" + tt.proxy, "127.0.0.1:" + closed})
		})
	}
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

// refusals are the texts wanted: of each proxy and class the exit code, the
// sentence and the hint, with PROXY and TARGET for the addresses, N for versions.
func refusals(t *testing.T) map[string]string {
	text, err := os.ReadFile("testdata/refusals.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for block := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n\n") {
		head, rest, _ := strings.Cut(block, "\n")
		all[head] = rest
	}
	return all
}

var versions = regexp.MustCompile(`(version |Privoxy )[0-9.]+[0-9]|(OpenSSH_)[^"]*`)

// checkRefusal compares what dial says with the text wanted. What a proxy that
// reads lines makes of a ClientHello hangs on the line ends among its random
// bytes, which rarely come in the same way three times.
func checkRefusal(t *testing.T, want map[string]string, name, proxy, closed string, arg []string) {
	t.Helper()
	tries, timeout := 1, "30s"
	if strings.HasSuffix(name, ": TLS") {
		tries, timeout = 3, "5s"
	}
	if strings.HasPrefix(want[name], "exit 9\n") { // there is no answer to wait for
		timeout = "2s"
	}
	arg = slices.Insert(slices.Clone(arg), 1, "--timeout", timeout)
	var got string
	for ; tries > 0; tries-- {
		if got = refusal(t, proxy, closed, arg); got == want[name] {
			return
		}
	}
	t.Errorf("%s\n%s\nwant\n%s", name, got, want[name])
}

// refusal is what dial says: the exit code, and the words with the addresses
// by their names.
func refusal(t *testing.T, proxy, closed string, arg []string) string {
	t.Helper()
	stdin, typing, err := os.Pipe() // somebody who waits for a prompt
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	defer typing.Close()
	_, stderr, code := runProgram(t, stdin, culvert(t), arg...)
	text := strings.NewReplacer(proxy, "PROXY", "127.0.0.1:"+closed, "TARGET", "nowhere.invalid:"+closed, "nowhere.invalid:TARGET",
		"127.0.0.1:25", "TARGET", "127.0.0.9:25", "TARGET",
		"port "+closed, "port TARGET", "port "+portOf(proxy), "port PROXY", "culvert dial: ", "").Replace(stderr)
	return strings.TrimSpace(fmt.Sprintf("exit %d\n%s", code, versions.ReplaceAllString(text, "${1}${2}N")))
}
