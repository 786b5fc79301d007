package interception

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/internal/testkit"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// selfSigned makes a self-signed certificate with a key of its own.
func selfSigned(tb testing.TB, name string) tls.Certificate {
	c := testkit.NewCertifier(tb, name)
	return tls.Certificate{Certificate: [][]byte{c.Cert.Raw}, PrivateKey: c.Key, Leaf: c.Cert}
}

// seen returns what a handshake under that name shows of a certificate.
func (c *Check) seen(name string, pair tls.Certificate, options tunnel.TLSOptions) *peer {
	h := &client.TLSHandshake{ServerName: name, Started: time.Now(), State: tls.ConnectionState{
		PeerCertificates: []*x509.Certificate{pair.Leaf}, Version: tls.VersionTLS13}}
	_ = h.Verify(options)
	return c.peerOf(h, &options)
}

// Only a public authority's certificate for the right name is trusted without
// further evidence, and no private authority is an interceptor merely for being
// private.
func TestVerdictFollowsFromTheFacts(t *testing.T) {
	const name, invented = "target.test", "culvert-0.invalid"
	public, private, inspector := testkit.NewCertifier(t, "Public CA"), testkit.NewCertifier(t, "Private CA"), testkit.NewCertifier(t, "Inspector")
	mitmproxy := testkit.NewCertifier(t, "mitmproxy")
	check := &Check{Public: public.Pool}
	see := func(asked string, pair tls.Certificate) *peer {
		return check.seen(asked, pair, tunnel.TLSOptions{Roots: private.Pool})
	}
	silent := func(asked string) *peer { return &peer{name: asked, failure: "no route to host"} }
	ofTarget, ofPrivate, ofInspector := public.Old(name), private.Old(name), inspector.Old(name)
	ofNobody := selfSigned(t, "proxy.test")
	ofMitmproxy := mitmproxy.Old(name)
	portal := public.Old("wifi.test")
	for _, tt := range []struct {
		about   string
		facts   facts
		verdict Verdict
		by      string
		settles []string
		hint    string
	}{
		{about: "public authority", facts: facts{target: see(name, ofTarget)},
			verdict: EndToEnd, settles: []string{"public-authority"}},
		{about: "public authority, expired", facts: facts{target: see(name, public.Leaf(testkit.CertificateAge, -time.Hour, name))},
			verdict: EndToEnd, settles: []string{"public-authority"}},
		{about: "public authority, not valid yet", facts: facts{target: see(name, public.Leaf(-time.Hour, testkit.CertificateAge, name))},
			verdict: EndToEnd, settles: []string{"public-authority"}},
		{about: "public authority, elsewhere another one", facts: facts{target: see(name, ofTarget), direct: see(name, private.Old(name))},
			verdict: EndToEnd, settles: []string{"public-authority"}},
		{about: "another name's", facts: facts{target: see(name, portal)},
			verdict: Unknown, hint: "--tls-server-name"},
		{about: "another name's, made by the public authority of everybody else", facts: facts{
			target: see(name, portal), unrelated: []*peer{see("other.test", public.Old("other.test"))}, nonexistent: see(invented, public.Old("parked.test"))},
			verdict: Unknown},
		{about: "another name's, and not without the proxy", facts: facts{target: see(name, portal), direct: see(name, ofTarget)},
			verdict: Intercepted, by: `"wifi.test"`, settles: []string{"direct-certificate"}},
		{about: "named, and another name's", facts: facts{target: see(name, private.Old("x.test"))},
			verdict: Unknown, hint: "--tls-server-name"},
		{about: "signed by itself", facts: facts{target: see(name, selfSigned(t, name))},
			verdict: Unknown, hint: "if that certificate is the target's own, name it by --tls-cacert"},
		{about: "signed by itself, for all names", facts: facts{target: see(name, ofNobody), unrelated: []*peer{see("other.test", ofNobody)}},
			verdict: Intercepted, by: "somebody whose certificate is signed by itself", settles: []string{"unrelated-names"}, hint: "ask who runs the proxy"},
		{about: "another name's, for all names", facts: facts{target: see(name, portal), unrelated: []*peer{see("other.test", portal)}},
			verdict: Intercepted, by: `"wifi.test"`, settles: []string{"unrelated-names"}, hint: "captive portal"},
		{about: "private", facts: facts{target: see(name, ofInspector)},
			verdict: Unknown, hint: "--tls-cacert"},
		{about: "private, young", facts: facts{target: see(name, inspector.Leaf(time.Minute, testkit.CertificateAge, name))},
			verdict: Unknown},
		{about: "private, trusted here", facts: facts{target: see(name, ofInspector)},
			verdict: Unknown},
		{about: "named", facts: facts{target: see(name, ofPrivate), named: true},
			verdict: EndToEnd, settles: []string{"named-authority"}},
		{about: "pinned", facts: facts{target: see(name, ofInspector), pinned: true},
			verdict: EndToEnd, settles: []string{"named-authority"}},
		{about: "the same without the proxy", facts: facts{target: see(name, ofInspector), direct: see(name, ofInspector)},
			verdict: EndToEnd, settles: []string{"direct-certificate"}},
		{about: "the same without the proxy, made as asked for", facts: facts{
			target: see(name, ofInspector), direct: see(name, ofInspector), invented: see(invented, inspector.Old(invented))},
			verdict: Unknown},
		{about: "the same without the proxy, by a product on this machine", facts: facts{target: see(name, ofMitmproxy), direct: see(name, ofMitmproxy)},
			verdict: Unknown},
		{about: "made as asked for, by a target that is named", facts: facts{named: true,
			target: see(name, ofPrivate), direct: see(name, ofPrivate), invented: see(invented, private.Old(invented))},
			verdict: EndToEnd, settles: []string{"named-authority"}},
		{about: "public without the proxy", facts: facts{target: see(name, ofInspector), direct: see(name, ofTarget)},
			verdict: Intercepted, by: `"Inspector"`, settles: []string{"direct-certificate"}},
		{about: "named, public without the proxy, and nobody else to compare with", facts: facts{named: true,
			target: see(name, ofPrivate), direct: see(name, ofTarget), unrelated: []*peer{silent("other.test")}},
			verdict: Unknown, hint: "an interceptor's"},
		{about: "named, public without the proxy, as others are through it", facts: facts{named: true,
			target: see(name, ofPrivate), direct: see(name, ofTarget), unrelated: []*peer{see("other.test", public.Old("other.test"))}},
			verdict: EndToEnd, settles: []string{"named-authority"}},
		{about: "named, made as asked for, another without the proxy", facts: facts{named: true,
			target: see(name, ofPrivate), direct: see(name, ofInspector), invented: see(invented, private.Old(invented))},
			verdict: Intercepted, by: `"Private CA"`, settles: []string{"invented-name"}},
		{about: "named, made as asked for", facts: facts{named: true,
			target: see(name, ofPrivate), direct: silent(name), invented: see(invented, private.Old(invented))},
			verdict: Unknown, hint: "an interceptor's"},
		{about: "made as asked for", facts: facts{target: see(name, ofInspector), invented: see(invented, inspector.Old(invented))},
			verdict: Intercepted, by: `"Inspector"`, settles: []string{"invented-name"}},
		{about: "another's, made as asked for", facts: facts{target: see(name, ofInspector), invented: see(invented, private.Old(invented))},
			verdict: Unknown},
		{about: "made for unrelated names too", facts: facts{target: see(name, ofInspector),
			unrelated: []*peer{silent("a.test"), see("other.test", inspector.Old("other.test"))}},
			verdict: Intercepted, by: `"Inspector"`, settles: []string{"unrelated-names"}},
		{about: "named, and made for unrelated names too", facts: facts{named: true, target: see(name, ofPrivate),
			unrelated: []*peer{see("other.test", private.Old("other.test"))}},
			verdict: Intercepted, by: `"Private CA"`, settles: []string{"named-authority", "unrelated-names"}},
		{about: "made for a host that cannot exist", facts: facts{target: see(name, ofInspector), nonexistent: see(invented, inspector.Old(invented))},
			verdict: Intercepted, by: `"Inspector"`, settles: []string{"nonexistent-host"}},
		{about: "a resolver leads all names to the target's server", facts: facts{target: see(name, ofInspector), nonexistent: see(invented, ofInspector)},
			verdict: Unknown},
		{about: "a resolver leads all names to the target's server, which is the same without the proxy", facts: facts{
			target: see(name, ofInspector), direct: see(name, ofInspector), nonexistent: see(invented, ofInspector), invented: see(invented, ofInspector)},
			verdict: EndToEnd, settles: []string{"direct-certificate"}},
		{about: "signed by itself, as another is that has the same names in it", facts: facts{
			target: see(name, selfSigned(t, "Acme Co")), unrelated: []*peer{see("other.test", selfSigned(t, "Acme Co"))}},
			verdict: Unknown},
		{about: "somebody else answers for hosts that cannot exist", facts: facts{target: see(name, ofInspector), nonexistent: see(invented, portal)},
			verdict: Unknown},
		{about: "named without the proxy", facts: facts{target: see(name, ofInspector), direct: see(name, ofPrivate)},
			verdict: Intercepted, by: `"Inspector"`, settles: []string{"direct-certificate"}},
		{about: "a private one here, a private one there", facts: facts{target: see(name, ofInspector), direct: see(name, mitmproxy.Old(name))},
			verdict: Unknown},
		{about: "another key of the same authority without the proxy", facts: facts{target: see(name, ofInspector), direct: see(name, inspector.Old(name))},
			verdict: Unknown},
		{about: "another server behind the proxy, as the public one is without it", facts: facts{target: see(name, ofInspector),
			direct: see(name, ofTarget), unrelated: []*peer{see("other.test", public.Old("other.test"))}, invented: see(invented, ofInspector)},
			verdict: Unknown, hint: "another server behind it"},
		{about: "another server behind the proxy, as the named one is without it", facts: facts{target: see(name, ofInspector),
			direct: see(name, ofPrivate), unrelated: []*peer{see("other.test", public.Old("other.test"))}, invented: see(invented, ofInspector)},
			verdict: Unknown, hint: "another server behind it"},
		{about: "public without the proxy, as others are through it, but made as asked for", facts: facts{target: see(name, ofInspector),
			direct: see(name, ofTarget), unrelated: []*peer{see("other.test", public.Old("other.test"))}, invented: see(invented, inspector.Old(invented))},
			verdict: Intercepted, by: `"Inspector"`, settles: []string{"direct-certificate", "invented-name"}},
		{about: "inspected without the proxy, by who was added to the system's authorities", facts: facts{
			target: see(name, ofInspector), direct: &peer{name: name, chain: []*x509.Certificate{mitmproxy.Old(name).Leaf}, publicError: errors.New("not public"), trusted: true}},
			verdict: Unknown},
		{about: "made as asked for, by a target behind a proxy that lets others be", facts: facts{target: see(name, ofInspector),
			invented: see(invented, inspector.Old(invented)), unrelated: []*peer{see("other.test", public.Old("other.test"))}},
			verdict: Unknown},
		{about: "made as asked for, by a product that lets others be", facts: facts{target: see(name, ofMitmproxy),
			invented: see(invented, mitmproxy.Old(invented)), unrelated: []*peer{see("other.test", public.Old("other.test"))}},
			verdict: Intercepted, by: `"mitmproxy"`, settles: []string{"invented-name"}},
		{about: "named, made as asked for where others are let be, and another server without the proxy", facts: facts{named: true, target: see(name, ofPrivate),
			direct: see(name, ofTarget), invented: see(invented, private.Old(invented)), unrelated: []*peer{see("other.test", public.Old("other.test"))}},
			verdict: Unknown, hint: "an interceptor's"},
		{about: "named, a product that has the certificate ready", facts: facts{named: true, target: see(name, ofMitmproxy), invented: see(invented, ofMitmproxy)},
			verdict: EndToEnd, settles: []string{"named-authority"}},
		{about: "made for each handshake, without the proxy too", facts: facts{target: see(name, ofInspector),
			direct: see(name, inspector.Old(name)), invented: see(invented, inspector.Old(invented))},
			verdict: Unknown},
		{about: "named, a product, and nobody else to compare with", facts: facts{named: true, target: see(name, ofMitmproxy)},
			verdict: Unknown, hint: "an interceptor's"},
		{about: "times", facts: facts{target: see(name, ofInspector), times: Times{Proxy: time.Millisecond, Reply: 200 * time.Millisecond, Handshake: 2 * time.Millisecond}},
			verdict: Unknown},
	} {
		t.Run(tt.about, func(t *testing.T) {
			f := tt.facts
			f.now, f.systemError = time.Now(), errors.New("x509: unknown authority")
			if tt.about == "private, trusted here" {
				f.systemError = nil
			}
			got := f.weigh()
			var settles []string
			for _, e := range got.Evidence {
				if e.Decisive {
					settles = append(settles, e.ID)
				}
			}
			if got.Verdict != tt.verdict || got.By != tt.by || !slices.Equal(settles, tt.settles) {
				t.Errorf("%q by %s, settled by %q; want %q by %s, settled by %q\n%+v", got.Verdict, got.By, settles, tt.verdict, tt.by, tt.settles, got.Evidence)
			}
			if !strings.Contains(got.Hint, tt.hint) || (got.Hint == "") != (got.Verdict == EndToEnd) {
				t.Errorf("the hint is %q, want one with %q", got.Hint, tt.hint)
			}
		})
	}
}

// Evidence that settles nothing by itself is reported as well.
func TestEvidenceSaysWhatItSupports(t *testing.T) {
	public, inspector := testkit.NewCertifier(t, "Public CA"), testkit.NewCertifier(t, "Zscaler Root CA")
	check := &Check{Public: public.Pool}
	see := func(asked string, pair tls.Certificate) *peer {
		return check.seen(asked, pair, tunnel.TLSOptions{Roots: public.Pool})
	}
	prepared, portal := inspector.Old("t.test"), public.Old("wifi.test")
	squid := testkit.NewCertifier(t, `Not trusted by "Corp CA"`)
	far := facts{times: Times{Proxy: 2 * time.Millisecond, Reply: 102 * time.Millisecond}}
	with := func(f facts, change func(*facts)) facts {
		change(&f)
		return f
	}
	other := see("t.test", inspector.Old("t.test"))
	other.alpn = "h2"
	older := see("t.test", inspector.Old("t.test"))
	older.version = tls.VersionTLS12
	for _, tt := range []struct {
		about, id string
		says      Verdict
		text      string
		facts     facts
	}{
		{"answered from nearby", "timing", Intercepted, "not as far away", with(far, func(f *facts) { f.times.Handshake = 4 * time.Millisecond })},
		{"answered from afar", "timing", EndToEnd, "about as far away", with(far, func(f *facts) { f.times.Handshake = 104 * time.Millisecond })},
		{"answered from between", "timing", Unknown, "took", with(far, func(f *facts) { f.times.Handshake = 40 * time.Millisecond })},
		{"slower than from afar", "timing", Unknown, "longer than the way explains", with(far, func(f *facts) { f.times.Handshake = 400 * time.Millisecond })},
		{"all on one machine", "timing", Unknown, "too near", facts{times: Times{Proxy: time.Millisecond, Reply: 2 * time.Millisecond, Handshake: time.Millisecond}}},
		{"another protocol", "direct-manner", Intercepted, "ALPN h2, through it on no ALPN", facts{direct: other}},
		{"another version", "direct-manner", Intercepted, "TLS 1.2, through it TLS 1.3", facts{direct: older}},
		{"trusted here", "system-trust", Intercepted, "added", facts{}},
		{"a product's name", "known-product", Intercepted, "Zscaler", facts{}},
		{"squid's word", "known-product", Intercepted, "squid", facts{target: see("t.test", squid.Old("t.test"))}},
		{"squid's quotes", "public-authority", Unknown, `by "Not trusted by 'Corp CA'", and`, facts{target: see("t.test", squid.Old("t.test"))}},
		{"the same everywhere", "unrelated-names", Intercepted, "the key is that of other.test too", facts{target: see("t.test", portal), unrelated: []*peer{see("other.test", portal)}}},
		{"the same nowhere", "nonexistent-host", Intercepted, "shows the same certificate", facts{target: see("t.test", prepared), nonexistent: see("x.invalid", prepared)}},
		{"public ones pass", "unrelated-names", EndToEnd, "other.test has a public", facts{unrelated: []*peer{see("other.test", public.Old("other.test"))}}},
		{"nobody there", "nonexistent-host", Unknown, "shows no certificate", facts{nonexistent: &peer{}}},
		{"nobody under that name", "invented-name", Unknown, "shows no certificate", facts{invented: &peer{}}},
		{"prepared", "invented-name", EndToEnd, "was there already", facts{target: see("t.test", prepared), invented: see("x.invalid", prepared)}},
		{"for another name", "invented-name", Unknown, "not for that name", facts{invented: see("x.invalid", inspector.Old("t.test"))}},
		{"expired", "public-authority", EndToEnd, "it has expired", facts{target: see("t.test", public.Leaf(testkit.CertificateAge, -time.Hour, "t.test"))}},
		{"expired, private", "public-authority", Unknown, "and no public authority vouches for it\n", facts{target: see("t.test", inspector.Leaf(testkit.CertificateAge, -time.Hour, "t.test"))}},
		{"too early", "public-authority", EndToEnd, "not valid yet", facts{target: see("t.test", public.Leaf(-time.Hour, testkit.CertificateAge, "t.test"))}},
		{"signed by itself", "public-authority", Unknown, "signed by itself, and no public", facts{target: see("t.test", selfSigned(t, "t.test"))}},
		{"unrelated, private", "unrelated-names", Unknown, `other.test shows a certificate signed by "Not trusted`, facts{unrelated: []*peer{see("other.test", squid.Old("other.test"))}}},
		{"young", "fresh-certificate", Intercepted, "only 1m", facts{target: see("t.test", inspector.Leaf(time.Minute, testkit.CertificateAge, "t.test"))}},
		{"not reached", "direct-certificate", Unknown, "none came", facts{direct: &peer{}}},
	} {
		f := tt.facts
		f.now = time.Now()
		if f.target == nil {
			f.target = see("t.test", inspector.Old("t.test"))
		}
		found := slices.IndexFunc(f.weigh().Evidence, func(e Evidence) bool {
			return e.ID == tt.id && e.Says == tt.says && strings.Contains(e.Text+"\n", tt.text)
		})
		if found < 0 {
			t.Errorf("%s: no %s that says %q with %q: %+v", tt.about, tt.id, tt.says, tt.text, f.weigh().Evidence)
		}
	}
}

// A closed direct way does not keep the user waiting as long as a slow proxy does,
// least of all if the target shows a public certificate.
func TestCheckIsBriefWithoutTheProxy(t *testing.T) {
	for _, tt := range []struct{ given, took, proxy, direct, public time.Duration }{
		{0, time.Millisecond, 3 * time.Second, 3 * time.Second, time.Second},
		{0, 4 * time.Second, 8 * time.Second, 3 * time.Second, time.Second},
		{0, time.Minute, 15 * time.Second, 3 * time.Second, time.Second},
		{time.Minute, 0, time.Minute, 3 * time.Second, time.Second},
		{time.Millisecond, 0, time.Millisecond, time.Millisecond, time.Millisecond},
	} {
		p := (&Check{Patience: tt.given}).patience(tt.took)
		if direct, public := directPatience(p, false), directPatience(p, true); p != tt.proxy || direct != tt.direct || public != tt.public {
			t.Errorf("%+v: %v, %v, %v", tt, p, direct, public)
		}
	}
}

// The hosts to compare with are neither the target nor the name it is asked for by.
func TestUnrelatedNames(t *testing.T) {
	for target, want := range map[string]int{"www.iana.org:8443": 2, "www.example.org:443": 2} {
		names := (&Check{}).unrelated(testkit.MustAuthority(t, target), "WWW.gnu.org.")
		if len(names) > want || slices.ContainsFunc(names, func(a tunnel.Authority) bool { return a.Host() == "www.gnu.org" || a.Host()+":8443" == target }) {
			t.Errorf("%s is compared with %v", target, names)
		}
	}
}

// Public authorities come with culvert, and private ones are not among them.
func TestPublicRoots(t *testing.T) {
	known := 0
	for root := range bundle.Roots() {
		c, err := x509.ParseCertificate(root.Certificate)
		if err == nil && client.VerifyChain([]*x509.Certificate{c}, publicRoots(), c.NotBefore.Add(time.Hour)) == nil {
			known++
		}
	}
	if known < 100 {
		t.Errorf("%d authorities are known", known)
	}
	private := testkit.NewCertifier(t, "Private CA")
	if s := (&Check{}).seen("a.test", private.Old("a.test"), tunnel.TLSOptions{}); s.publicError == nil {
		t.Error("a private authority is taken for a public one")
	}
}
