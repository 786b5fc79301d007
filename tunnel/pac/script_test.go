package pac

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
)

func TestFind(t *testing.T) {
	s := testScript()
	s.Source = "proxy.pac"
	var told []string
	s.Alert = func(m string) { told = append(told, m) }
	s.Text = `// a comment
var proxies = ["PROXY a:80", "SOCKS5 b:1080"];
function FindProxyForURL(url, host) {
	alert("asked\nfor " + url);
	if (isInNet(dnsResolve(host), "192.0.2.0", "255.255.255.0") && isResolvable(host)) return proxies.join("; ") + "; QUIC q";
	return null;
}
function FindProxyForURLEx(url, host) { return "DIRECT"; }`
	answer, err := s.Find(context.Background(), authority(t, "FOUR.example:22"))
	if err != nil {
		t.Fatal(err)
	}
	if answer.Script != "proxy.pac" || answer.Function != "FindProxyForURL" || answer.URL != "https://four.example:22/" ||
		answer.Returned != "PROXY a:80; SOCKS5 b:1080; QUIC q" || len(answer.Skipped) != 1 || answer.Took <= 0 {
		t.Errorf("%+v", answer)
	}
	if len(answer.Routes) != 2 || answer.Routes[0].String() != "http://a:80" || answer.Routes[0].Source != "proxy.pac" {
		t.Errorf("routes %v", answer.Routes)
	}
	if want := []string{`asked\nfor https://four.example:22/`}; !slices.Equal(answer.Alerts, want) || !slices.Equal(told, want) {
		t.Errorf("alerts %q, told %q", answer.Alerts, told)
	}
	if asked := s.Resolver.(*names).asked; len(asked) != 1 || len(answer.Lookups) != 1 || answer.Lookups[0].Addrs[0] != netip.MustParseAddr("192.0.2.7") {
		t.Errorf("asked %q, noted %+v", asked, answer.Lookups)
	}
	if answer, err = s.Find(context.Background(), authority(t, "none.example:22")); err != nil || len(answer.Routes) != 1 || !answer.Routes[0].Direct() || answer.Lookups[0].Err == nil {
		t.Errorf("%+v %v", answer, err)
	}
}

func TestWhatAScriptIsTold(t *testing.T) {
	for target, want := range map[string]string{
		"Host.Example.:443":   "https://host.example/ host.example",
		"host.example:22":     "https://host.example:22/ host.example",
		"192.0.2.1:80":        "https://192.0.2.1:80/ 192.0.2.1",
		"[2001:DB8::1]:443":   "https://[2001:db8::1]/ 2001:db8::1",
		"[2001:db8::1]:14443": "https://[2001:db8::1]:14443/ 2001:db8::1",
	} {
		s := Script{Text: `var FindProxyForURLEx = (url, host) => { alert(url + " " + host); return "" }`}
		answer, err := s.Find(context.Background(), authority(t, target))
		if err != nil || answer.Function != "FindProxyForURLEx" || answer.Alerts[0] != want {
			t.Errorf("%s: %+v %v", target, answer, err)
		}
	}
}

func TestHostileScripts(t *testing.T) {
	body := func(s string) string { return "\nfunction FindProxyForURL(url, host) {\n" + s + "\n}" }
	for name, c := range map[string]struct {
		text  string
		stage Stage
		want  string
		line  int
	}{
		"endless loop":         {body("for (;;);"), StageRun, "stopped: it took longer than 300ms", 0},
		"endless at the start": {"for (;;);", StageRun, "took longer", 0},
		"endless in finally":   {body("try { for (;;); } finally { for (;;) try { for (;;); } catch (e) {} }"), StageRun, "took longer", 0},
		"endless pattern":      {body("return /^(a+)+$/.test('a'.repeat(50) + '!')"), StageRun, "took longer", 0},
		"endless engine":       {body("return Array(3e7).join('x')"), StageRun, "", 0},
		"recursion":            {body("return FindProxyForURL(url, host) + 1"), StageRun, "stack overflow", 3},
		"nesting":              {strings.Repeat("[", 100000), StageRun, "stack overflow", 1},
		"huge string":          {body("var s = 'x'; for (;;) s += s"), StageRun, "too long", 3},
		"much memory":          {body("var a = []; for (;;) a.push('x'.repeat(9999) + a.length)"), StageRun, "out of memory", 3},
		"no function":          {"var x = 1", StageRun, "no function FindProxyForURL", 0},
		"no call":              {"FindProxyForURL = 1", StageRun, "no function FindProxyForURL", 0},
		"throws":               {body("\nthrow new Error('boom\x1b')"), StageRun, `line 4: Error: boom\x1b`, 4},
		"throws text":          {body("throw 'words'"), StageRun, "it threw words", 0},
		"throws in a helper":   {body("return shExpMatch(host, '(')"), StageRun, "line 3: SyntaxError", 3},
		"unknown name":         {body("return proxyName"), StageRun, "line 3: ReferenceError: 'proxyName' is not defined", 3},
		"syntax error":         {"var a;\n\nvar b = ;", StageRun, "line 3: SyntaxError", 3},
		"number":               {body("return 7"), StageAnswer, "FindProxyForURL returned a number", 0},
		"object":               {body("return {}"), StageAnswer, "returned an object", 0},
		"promise":              {"async " + strings.TrimSpace(body("return 'DIRECT'")), StageAnswer, "returned an object", 0},
		"nothing":              {body("if (false) return 'DIRECT'"), StageAnswer, "returned nothing", 0},
		"very long":            {body("return 'PROXY a:1;'.repeat(1e5)"), StageAnswer, "longer than 65536 bytes", 0},
		"malformed":            {body("return 'PROXY'"), StageAnswer, "HOST:PORT is missing", 0},
		"breaks the engine":    {"String = Array = undefined; Function.prototype.call = null;" + body("return 'PROXY ' + dnsDomainLevels(host)"), StageAnswer, "PROXY 1", 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := Script{Source: "bad.pac", Text: c.text, Timeout: time.Minute}
			if strings.Contains(name, "endless") {
				s.Timeout = 300 * time.Millisecond
			}
			answer, err := s.Find(context.Background(), authority(t, "host.example:22"))
			var e *Error
			if !errors.As(err, &e) || answer == nil || len(answer.Routes) > 0 {
				t.Fatalf("%+v %v", answer, err)
			}
			if e.Stage != c.stage || e.Line != c.line || !strings.Contains(e.Error(), c.want) || !strings.HasPrefix(e.Error(), "proxy script bad.pac: ") {
				t.Errorf("%s, line %d: %v", e.Stage, e.Line, e)
			}
			if len(e.Error()) > 3*maxText || strings.Contains(e.Error(), "\x1b") {
				t.Errorf("told as %q", e.Error())
			}
			if strings.Contains(c.want, "longer than 300ms") && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("no deadline: %v", err)
			}
		})
	}
}

// silent is a Resolver that answers when the context ends.
type silent struct{}

func (silent) LookupNetIP(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestTimeLimitCoversLookups(t *testing.T) {
	s := Script{Text: "function FindProxyForURL(u, h) { return dnsResolve(h) ? 'PROXY a:1' : 'DIRECT' }", Resolver: silent{}, Timeout: 50 * time.Millisecond}
	if _, err := s.Find(context.Background(), authority(t, "host.example:22")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestCancelledFind(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	s := Script{Text: "function FindProxyForURL(u, h) { alert('on'); for (;;); }", Timeout: -1, Alert: func(string) { cancel() }}
	answer, err := s.Find(ctx, authority(t, "host.example:22"))
	if !errors.Is(err, context.Canceled) || len(answer.Alerts) != 1 {
		t.Errorf("%+v %v", answer, err)
	}
	if _, err := s.Find(ctx, authority(t, "host.example:22")); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, err := s.Find(context.Background(), tunnel.Authority{}); err == nil {
		t.Error("no target is no error")
	}
}

func TestNothingIsRememberedBetweenFinds(t *testing.T) {
	s := Script{Text: "var n = 0; function FindProxyForURL(u, h) { alert(++n); return isPlainHostName(h) ? '' : 'PROXY p:1' } function isPlainHostName() { return false }"}
	for range 2 {
		answer, err := s.Find(context.Background(), authority(t, "plain:22"))
		if err != nil || answer.Alerts[0] != "1" || answer.Routes[0].Direct() {
			t.Errorf("%+v %v", answer, err)
		}
	}
}

func TestAlertsAreBounded(t *testing.T) {
	s := Script{Timeout: time.Minute, Text: "function FindProxyForURL() { for (var i = 0; i < 1000; i++) alert('x'.repeat(10000)); return 'DIRECT' }"}
	answer, err := s.Find(context.Background(), authority(t, "host.example:22"))
	if err != nil || len(answer.Alerts) != maxNoted || len(answer.Alerts[0]) > 2*maxText {
		t.Errorf("%d alerts, %v", len(answer.Alerts), err)
	}
}

func TestLocalAddresses(t *testing.T) {
	for _, a := range localAddresses(context.Background()) {
		if !a.IsGlobalUnicast() || a.IsLoopback() {
			t.Errorf("%s", a)
		}
	}
	if got := evaluated(t, Script{}, "myIpAddress()"); !strings.Contains(got, ".") {
		t.Errorf("myIpAddress() = %s", got)
	}
}

func BenchmarkFind(b *testing.B) {
	s := Script{Text: "function FindProxyForURL(url, host) {\n" + strings.Repeat("if (shExpMatch(host, '*.a.example') || dnsDomainIs(host, '.b.example')) return 'DIRECT';\n", 100) + "return 'PROXY p:1' }"}
	target := authority(b, "host.example:22")
	for b.Loop() {
		if _, err := s.Find(context.Background(), target); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleScript_Find() {
	script := Script{Source: "proxy.pac", Text: `function FindProxyForURL(url, host) {
		if (isPlainHostName(host)) return "DIRECT";
		return "PROXY one.example:3128; PROXY two.example:3128";
	}`}
	target, _ := tunnel.ParseAuthority("ssh.example.com:22")
	answer, err := script.Find(context.Background(), target)
	if err != nil {
		fmt.Println(err)
		return
	}
	client := client.Client{Route: answer.Routes[0], Or: answer.Routes[1:]}
	fmt.Println(client.Route, client.Or)
	// Output: http://one.example:3128 [http://two.example:3128]
}
