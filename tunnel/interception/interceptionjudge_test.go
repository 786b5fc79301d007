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

// selfSigned is a certificate that names nobody else, and no key of its maker's.
func selfSigned(tb testing.TB, name string) tls.Certificate {
	c := testkit.NewCertifier(tb, name)
	return tls.Certificate{Certificate: [][]byte{c.Cert.Raw}, PrivateKey: c.Key, Leaf: c.Cert}
}

// seen is what a handshake by that name shows of a certificate.
func (c *Check) seen(name string, pair tls.Certificate, options tunnel.TLSOptions) *shown {
	h := &client.TLSHandshake{ServerName: name, Started: time.Now(), State: tls.ConnectionState{
		PeerCertificates: []*x509.Certificate{pair.Leaf}, Version: tls.VersionTLS13}}
	_ = h.Verify(options)
	return c.shownBy(h, &options)
}

// What the facts come to. Nothing but a public authority's word for the right
// name may be taken for granted, and no private authority for an interceptor.
func TestInterceptionIsJudgedByTheFacts(t *testing.T) {
	const name, invented = "target.test", "culvert-0.invalid"
	public, private, inspector := testkit.NewCertifier(t, "Public CA"), testkit.NewCertifier(t, "Private CA"), testkit.NewCertifier(t, "Inspector")
	mitmproxy := testkit.NewCertifier(t, "mitmproxy")
	check := &Check{Public: public.Pool}
	see := func(asked string, pair tls.Certificate) *shown {
		return check.seen(asked, pair, tunnel.TLSOptions{Roots: private.Pool})
	}
	silent := func(asked string) *shown { return &shown{name: asked, failure: "no route to host"} }
	ofTarget, ofPrivate, ofInspector := public.Old(name), private.Old(name), inspector.Old(name)
	ofNobody := selfSigned(t, "proxy.test")
	ofMitmproxy := mitmproxy.Old(name)
	portal := public.Old("wifi.test")
	for _, tt := range []struct {
		about   string
		facts   interceptionFacts
		verdict string
		by      string
		settles []string
		hint    string
	}{
		{about: "public authority", facts: interceptionFacts{target: see(name, ofTarget)},
			verdict: MiddleNone, settles: []string{"public-authority"}},
		{about: "public authority, expired", facts: interceptionFacts{target: see(name, public.Leaf(testkit.TestAge, -time.Hour, name))},
			verdict: MiddleNone, settles: []string{"public-authority"}},
		{about: "public authority, not valid yet", facts: interceptionFacts{target: see(name, public.Leaf(-time.Hour, testkit.TestAge, name))},
			verdict: MiddleNone, settles: []string{"public-authority"}},
		{about: "public authority, elsewhere another one", facts: interceptionFacts{target: see(name, ofTarget), direct: see(name, private.Old(name))},
			verdict: MiddleNone, settles: []string{"public-authority"}},
		{about: "another name's", facts: interceptionFacts{target: see(name, portal)},
			verdict: MiddleUnknown, hint: "--tls-server-name"},
		{about: "another name's, made by the public authority of everybody else", facts: interceptionFacts{
			target: see(name, portal), unrelated: []*shown{see("other.test", public.Old("other.test"))}, nonexistent: see(invented, public.Old("parked.test"))},
			verdict: MiddleUnknown},
		{about: "another name's, and not without the proxy", facts: interceptionFacts{target: see(name, portal), direct: see(name, ofTarget)},
			verdict: MiddleFound, by: `"wifi.test"`, settles: []string{"direct-certificate"}},
		{about: "named, and another name's", facts: interceptionFacts{target: see(name, private.Old("x.test"))},
			verdict: MiddleUnknown, hint: "--tls-server-name"},
		{about: "signed by itself", facts: interceptionFacts{target: see(name, selfSigned(t, name))},
			verdict: MiddleUnknown, hint: "if that certificate is the target's own, name it by --tls-cacert"},
		{about: "signed by itself, for all names", facts: interceptionFacts{target: see(name, ofNobody), unrelated: []*shown{see("other.test", ofNobody)}},
			verdict: MiddleFound, by: "somebody whose certificate is signed by itself", settles: []string{"unrelated-names"}, hint: "ask who runs the proxy"},
		{about: "another name's, for all names", facts: interceptionFacts{target: see(name, portal), unrelated: []*shown{see("other.test", portal)}},
			verdict: MiddleFound, by: `"wifi.test"`, settles: []string{"unrelated-names"}, hint: "captive portal"},
		{about: "private", facts: interceptionFacts{target: see(name, ofInspector)},
			verdict: MiddleUnknown, hint: "--tls-cacert"},
		{about: "private, young", facts: interceptionFacts{target: see(name, inspector.Leaf(time.Minute, testkit.TestAge, name))},
			verdict: MiddleUnknown},
		{about: "private, trusted here", facts: interceptionFacts{target: see(name, ofInspector)},
			verdict: MiddleUnknown},
		{about: "named", facts: interceptionFacts{target: see(name, ofPrivate), named: true},
			verdict: MiddleNone, settles: []string{"named-authority"}},
		{about: "pinned", facts: interceptionFacts{target: see(name, ofInspector), pinned: true},
			verdict: MiddleNone, settles: []string{"named-authority"}},
		{about: "the same without the proxy", facts: interceptionFacts{target: see(name, ofInspector), direct: see(name, ofInspector)},
			verdict: MiddleNone, settles: []string{"direct-certificate"}},
		{about: "the same without the proxy, made as asked for", facts: interceptionFacts{
			target: see(name, ofInspector), direct: see(name, ofInspector), invented: see(invented, inspector.Old(invented))},
			verdict: MiddleUnknown},
		{about: "the same without the proxy, by a product on this machine", facts: interceptionFacts{target: see(name, ofMitmproxy), direct: see(name, ofMitmproxy)},
			verdict: MiddleUnknown},
		{about: "made as asked for, by a target that is named", facts: interceptionFacts{named: true,
			target: see(name, ofPrivate), direct: see(name, ofPrivate), invented: see(invented, private.Old(invented))},
			verdict: MiddleNone, settles: []string{"named-authority"}},
		{about: "public without the proxy", facts: interceptionFacts{target: see(name, ofInspector), direct: see(name, ofTarget)},
			verdict: MiddleFound, by: `"Inspector"`, settles: []string{"direct-certificate"}},
		{about: "named, public without the proxy, and nobody else to compare with", facts: interceptionFacts{named: true,
			target: see(name, ofPrivate), direct: see(name, ofTarget), unrelated: []*shown{silent("other.test")}},
			verdict: MiddleUnknown, hint: "an interceptor's"},
		{about: "named, public without the proxy, as others are through it", facts: interceptionFacts{named: true,
			target: see(name, ofPrivate), direct: see(name, ofTarget), unrelated: []*shown{see("other.test", public.Old("other.test"))}},
			verdict: MiddleNone, settles: []string{"named-authority"}},
		{about: "named, made as asked for, another without the proxy", facts: interceptionFacts{named: true,
			target: see(name, ofPrivate), direct: see(name, ofInspector), invented: see(invented, private.Old(invented))},
			verdict: MiddleFound, by: `"Private CA"`, settles: []string{"invented-name"}},
		{about: "named, made as asked for", facts: interceptionFacts{named: true,
			target: see(name, ofPrivate), direct: silent(name), invented: see(invented, private.Old(invented))},
			verdict: MiddleUnknown, hint: "an interceptor's"},
		{about: "made as asked for", facts: interceptionFacts{target: see(name, ofInspector), invented: see(invented, inspector.Old(invented))},
			verdict: MiddleFound, by: `"Inspector"`, settles: []string{"invented-name"}},
		{about: "another's, made as asked for", facts: interceptionFacts{target: see(name, ofInspector), invented: see(invented, private.Old(invented))},
			verdict: MiddleUnknown},
		{about: "made for unrelated names too", facts: interceptionFacts{target: see(name, ofInspector),
			unrelated: []*shown{silent("a.test"), see("other.test", inspector.Old("other.test"))}},
			verdict: MiddleFound, by: `"Inspector"`, settles: []string{"unrelated-names"}},
		{about: "named, and made for unrelated names too", facts: interceptionFacts{named: true, target: see(name, ofPrivate),
			unrelated: []*shown{see("other.test", private.Old("other.test"))}},
			verdict: MiddleFound, by: `"Private CA"`, settles: []string{"named-authority", "unrelated-names"}},
		{about: "made for a host that cannot exist", facts: interceptionFacts{target: see(name, ofInspector), nonexistent: see(invented, inspector.Old(invented))},
			verdict: MiddleFound, by: `"Inspector"`, settles: []string{"nonexistent-host"}},
		{about: "a resolver leads all names to the target's server", facts: interceptionFacts{target: see(name, ofInspector), nonexistent: see(invented, ofInspector)},
			verdict: MiddleUnknown},
		{about: "a resolver leads all names to the target's server, which is the same without the proxy", facts: interceptionFacts{
			target: see(name, ofInspector), direct: see(name, ofInspector), nonexistent: see(invented, ofInspector), invented: see(invented, ofInspector)},
			verdict: MiddleNone, settles: []string{"direct-certificate"}},
		{about: "signed by itself, as another is that has the same names in it", facts: interceptionFacts{
			target: see(name, selfSigned(t, "Acme Co")), unrelated: []*shown{see("other.test", selfSigned(t, "Acme Co"))}},
			verdict: MiddleUnknown},
		{about: "somebody else answers for hosts that cannot exist", facts: interceptionFacts{target: see(name, ofInspector), nonexistent: see(invented, portal)},
			verdict: MiddleUnknown},
		{about: "named without the proxy", facts: interceptionFacts{target: see(name, ofInspector), direct: see(name, ofPrivate)},
			verdict: MiddleFound, by: `"Inspector"`, settles: []string{"direct-certificate"}},
		{about: "a private one here, a private one there", facts: interceptionFacts{target: see(name, ofInspector), direct: see(name, mitmproxy.Old(name))},
			verdict: MiddleUnknown},
		{about: "another key of the same authority without the proxy", facts: interceptionFacts{target: see(name, ofInspector), direct: see(name, inspector.Old(name))},
			verdict: MiddleUnknown},
		{about: "another server behind the proxy, as the public one is without it", facts: interceptionFacts{target: see(name, ofInspector),
			direct: see(name, ofTarget), unrelated: []*shown{see("other.test", public.Old("other.test"))}, invented: see(invented, ofInspector)},
			verdict: MiddleUnknown, hint: "another server behind it"},
		{about: "another server behind the proxy, as the named one is without it", facts: interceptionFacts{target: see(name, ofInspector),
			direct: see(name, ofPrivate), unrelated: []*shown{see("other.test", public.Old("other.test"))}, invented: see(invented, ofInspector)},
			verdict: MiddleUnknown, hint: "another server behind it"},
		{about: "public without the proxy, as others are through it, but made as asked for", facts: interceptionFacts{target: see(name, ofInspector),
			direct: see(name, ofTarget), unrelated: []*shown{see("other.test", public.Old("other.test"))}, invented: see(invented, inspector.Old(invented))},
			verdict: MiddleFound, by: `"Inspector"`, settles: []string{"direct-certificate", "invented-name"}},
		{about: "inspected without the proxy, by who was added to the system's authorities", facts: interceptionFacts{
			target: see(name, ofInspector), direct: &shown{name: name, chain: []*x509.Certificate{mitmproxy.Old(name).Leaf}, trust: errors.New("not public"), trusted: true}},
			verdict: MiddleUnknown},
		{about: "made as asked for, by a target behind a proxy that lets others be", facts: interceptionFacts{target: see(name, ofInspector),
			invented: see(invented, inspector.Old(invented)), unrelated: []*shown{see("other.test", public.Old("other.test"))}},
			verdict: MiddleUnknown},
		{about: "made as asked for, by a product that lets others be", facts: interceptionFacts{target: see(name, ofMitmproxy),
			invented: see(invented, mitmproxy.Old(invented)), unrelated: []*shown{see("other.test", public.Old("other.test"))}},
			verdict: MiddleFound, by: `"mitmproxy"`, settles: []string{"invented-name"}},
		{about: "named, made as asked for where others are let be, and another server without the proxy", facts: interceptionFacts{named: true, target: see(name, ofPrivate),
			direct: see(name, ofTarget), invented: see(invented, private.Old(invented)), unrelated: []*shown{see("other.test", public.Old("other.test"))}},
			verdict: MiddleUnknown, hint: "an interceptor's"},
		{about: "named, a product that has the certificate ready", facts: interceptionFacts{named: true, target: see(name, ofMitmproxy), invented: see(invented, ofMitmproxy)},
			verdict: MiddleNone, settles: []string{"named-authority"}},
		{about: "made for each handshake, without the proxy too", facts: interceptionFacts{target: see(name, ofInspector),
			direct: see(name, inspector.Old(name)), invented: see(invented, inspector.Old(invented))},
			verdict: MiddleUnknown},
		{about: "named, a product, and nobody else to compare with", facts: interceptionFacts{named: true, target: see(name, ofMitmproxy)},
			verdict: MiddleUnknown, hint: "an interceptor's"},
		{about: "times", facts: interceptionFacts{target: see(name, ofInspector), times: Times{Proxy: time.Millisecond, Reply: 200 * time.Millisecond, Handshake: 2 * time.Millisecond}},
			verdict: MiddleUnknown},
	} {
		t.Run(tt.about, func(t *testing.T) {
			f := tt.facts
			f.now, f.system = time.Now(), errors.New("x509: unknown authority")
			if tt.about == "private, trusted here" {
				f.system = nil
			}
			got := f.judge()
			var settles []string
			for _, e := range got.Evidence {
				if e.Decisive {
					settles = append(settles, e.ID)
				}
			}
			if got.Verdict != tt.verdict || got.By != tt.by || !slices.Equal(settles, tt.settles) {
				t.Errorf("%q by %s, settled by %q; want %q by %s, settled by %q\n%+v", got.Verdict, got.By, settles, tt.verdict, tt.by, tt.settles, got.Evidence)
			}
			if !strings.Contains(got.Hint, tt.hint) || (got.Hint == "") != (got.Verdict == MiddleNone) {
				t.Errorf("the hint is %q, want one with %q", got.Hint, tt.hint)
			}
		})
	}
}

// Evidence that settles nothing by itself is told all the same.
func TestInterceptionEvidenceSaysWhatItSpeaksFor(t *testing.T) {
	public, inspector := testkit.NewCertifier(t, "Public CA"), testkit.NewCertifier(t, "Zscaler Root CA")
	check := &Check{Public: public.Pool}
	see := func(asked string, pair tls.Certificate) *shown {
		return check.seen(asked, pair, tunnel.TLSOptions{Roots: public.Pool})
	}
	prepared, portal := inspector.Old("t.test"), public.Old("wifi.test")
	squid := testkit.NewCertifier(t, `Not trusted by "Corp CA"`)
	far := interceptionFacts{times: Times{Proxy: 2 * time.Millisecond, Reply: 102 * time.Millisecond}}
	with := func(f interceptionFacts, change func(*interceptionFacts)) interceptionFacts {
		change(&f)
		return f
	}
	other := see("t.test", inspector.Old("t.test"))
	other.alpn = "h2"
	older := see("t.test", inspector.Old("t.test"))
	older.tls = tls.VersionTLS12
	for _, tt := range []struct {
		about, id, says, text string
		facts                 interceptionFacts
	}{
		{"answered from nearby", "timing", MiddleFound, "not as far away", with(far, func(f *interceptionFacts) { f.times.Handshake = 4 * time.Millisecond })},
		{"answered from afar", "timing", MiddleNone, "about as far away", with(far, func(f *interceptionFacts) { f.times.Handshake = 104 * time.Millisecond })},
		{"answered from between", "timing", MiddleUnknown, "took", with(far, func(f *interceptionFacts) { f.times.Handshake = 40 * time.Millisecond })},
		{"slower than from afar", "timing", MiddleUnknown, "longer than the way explains", with(far, func(f *interceptionFacts) { f.times.Handshake = 400 * time.Millisecond })},
		{"all on one machine", "timing", MiddleUnknown, "too near", interceptionFacts{times: Times{Proxy: time.Millisecond, Reply: 2 * time.Millisecond, Handshake: time.Millisecond}}},
		{"another protocol", "direct-manner", MiddleFound, "ALPN h2, through it on no ALPN", interceptionFacts{direct: other}},
		{"another version", "direct-manner", MiddleFound, "TLS 1.2, through it TLS 1.3", interceptionFacts{direct: older}},
		{"trusted here", "system-trust", MiddleFound, "added", interceptionFacts{}},
		{"a product's name", "known-product", MiddleFound, "Zscaler", interceptionFacts{}},
		{"squid's word", "known-product", MiddleFound, "squid", interceptionFacts{target: see("t.test", squid.Old("t.test"))}},
		{"squid's quotes", "public-authority", MiddleUnknown, `by "Not trusted by 'Corp CA'", and`, interceptionFacts{target: see("t.test", squid.Old("t.test"))}},
		{"the same everywhere", "unrelated-names", MiddleFound, "the key is that of other.test too", interceptionFacts{target: see("t.test", portal), unrelated: []*shown{see("other.test", portal)}}},
		{"the same nowhere", "nonexistent-host", MiddleFound, "shows the same certificate", interceptionFacts{target: see("t.test", prepared), nonexistent: see("x.invalid", prepared)}},
		{"public ones pass", "unrelated-names", MiddleNone, "other.test has a public", interceptionFacts{unrelated: []*shown{see("other.test", public.Old("other.test"))}}},
		{"nobody there", "nonexistent-host", MiddleUnknown, "shows no certificate", interceptionFacts{nonexistent: &shown{}}},
		{"nobody under that name", "invented-name", MiddleUnknown, "shows no certificate", interceptionFacts{invented: &shown{}}},
		{"prepared", "invented-name", MiddleNone, "was there already", interceptionFacts{target: see("t.test", prepared), invented: see("x.invalid", prepared)}},
		{"for another name", "invented-name", MiddleUnknown, "not for that name", interceptionFacts{invented: see("x.invalid", inspector.Old("t.test"))}},
		{"expired", "public-authority", MiddleNone, "it has expired", interceptionFacts{target: see("t.test", public.Leaf(testkit.TestAge, -time.Hour, "t.test"))}},
		{"expired, private", "public-authority", MiddleUnknown, "and no public authority vouches for it\n", interceptionFacts{target: see("t.test", inspector.Leaf(testkit.TestAge, -time.Hour, "t.test"))}},
		{"too early", "public-authority", MiddleNone, "not valid yet", interceptionFacts{target: see("t.test", public.Leaf(-time.Hour, testkit.TestAge, "t.test"))}},
		{"signed by itself", "public-authority", MiddleUnknown, "signed by itself, and no public", interceptionFacts{target: see("t.test", selfSigned(t, "t.test"))}},
		{"unrelated, private", "unrelated-names", MiddleUnknown, `other.test shows a certificate signed by "Not trusted`, interceptionFacts{unrelated: []*shown{see("other.test", squid.Old("other.test"))}}},
		{"young", "fresh-certificate", MiddleFound, "only 1m", interceptionFacts{target: see("t.test", inspector.Leaf(time.Minute, testkit.TestAge, "t.test"))}},
		{"not reached", "direct-certificate", MiddleUnknown, "none came", interceptionFacts{direct: &shown{}}},
	} {
		f := tt.facts
		f.now = time.Now()
		if f.target == nil {
			f.target = see("t.test", inspector.Old("t.test"))
		}
		found := slices.IndexFunc(f.judge().Evidence, func(e Evidence) bool {
			return e.ID == tt.id && e.Says == tt.says && strings.Contains(e.Text+"\n", tt.text)
		})
		if found < 0 {
			t.Errorf("%s: no %s that says %q with %q: %+v", tt.about, tt.id, tt.says, tt.text, f.judge().Evidence)
		}
	}
}

// A way without the proxy that is closed keeps nobody waiting for as long as a slow
// proxy does, least of all those who see a public authority's certificate.
func TestInterceptionCheckIsBriefWithoutTheProxy(t *testing.T) {
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

// What is compared with the target is unrelated to it and to the name it is asked
// for by.
func TestInterceptionUnrelatedNames(t *testing.T) {
	for target, want := range map[string]int{"www.iana.org:8443": 2, "www.example.org:443": 2} {
		names := (&Check{}).unrelated(testkit.MustAuthority(t, target), "WWW.gnu.org.")
		if len(names) > want || slices.ContainsFunc(names, func(a tunnel.Authority) bool { return a.Host() == "www.gnu.org" || a.Host()+":8443" == target }) {
			t.Errorf("%s is compared with %v", target, names)
		}
	}
}

// Authorities of the world's come with culvert, and private ones are not among
// them.
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
	if s := (&Check{}).seen("a.test", private.Old("a.test"), tunnel.TLSOptions{}); s.trust == nil {
		t.Error("a private authority is taken for a public one")
	}
}
