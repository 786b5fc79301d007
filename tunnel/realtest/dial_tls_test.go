//go:build unix

package realtest

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/tunneltest"
)

// Every way in which TLS with a proxy fails is one sentence that names the hop,
// the reason and the certificate, one hint, and exit 4.
func TestDialTellsWhyThereIsNoTLS(t *testing.T) {
	t.Parallel()
	authority := issue(t, nil, "the proxy's authority", tomorrow())
	good, expired := issue(t, authority, "proxy", tomorrow()), issue(t, authority, "old proxy", time.Now().Add(-time.Hour))
	clients := issue(t, nil, "the clients' authority", tomorrow())
	ada := issue(t, clients, "ada", tomorrow())
	certificate := func(c *certified) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{c.pair(t)}} }
	wanting := certificate(good)
	wanting.ClientAuth, wanting.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	wanting.ClientCAs.AddCert(clients.leaf)
	ancient := certificate(good)
	ancient.MinVersion, ancient.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	pin, wrong := tunnel.PinOf(good.leaf).String(), tunnel.PinOf(ada.leaf).String()
	known := []string{"--cacert", authority.cert}
	with := func(more ...string) []string { return append(known[:1:1], append(known[1:2:2], more...)...) }
	web := httptest.NewServer(nil)
	defer web.Close()
	for _, tt := range []struct {
		name           string
		proxy          string
		flags          []string
		code           int
		sentence, hint string
	}{
		{"trusted", secureFront(t, certificate(good)), known, 0, "", ""},
		{"unknown authority", secureFront(t, certificate(good)), nil, 4,
			"no TLS with proxy %s: its certificate is from an unknown authority (subject CN=proxy, issuer CN=the proxy's authority, valid from ", "name its certificate with --cacert FILE"},
		{"insecure", secureFront(t, certificate(good)), []string{"-k"}, 0, "", ""},
		{"pinned", secureFront(t, certificate(good)), []string{"-k", "--pin", wrong, "--pin", pin}, 0, "", ""},
		{"another key", secureFront(t, certificate(good)), with("--pin", wrong), 4, "no TLS with proxy %s: ", "somebody may stand between"},
		{"another key, insecure", secureFront(t, certificate(good)), []string{"-k", "--pin", wrong}, 4, "no TLS with proxy %s: ", "somebody may stand between"},
		{"expired", secureFront(t, certificate(expired)), known, 4, "no TLS with proxy %s: its certificate expired", "correct the clock here"},
		{"wrong name", secureFront(t, certificate(good)), with("--proxy-server-name", "proxy.corp"), 4,
			"no TLS with proxy %s: its certificate is not for proxy.corp but for localhost, 127.0.0.1 (", "--proxy-server-name NAME"},
		{"right name", secureFront(t, certificate(good)), with("--proxy-server-name", "localhost"), 0, "", ""},
		{"certificate wanted", secureFront(t, wanting), known, 4, "no TLS with proxy %s: it wants a client certificate: certificate required", "--cert FILE and --key FILE"},
		{"certificate shown", secureFront(t, wanting), with("--cert", ada.cert, "--key", ada.pem), 0, "", ""},
		{"certificate refused", secureFront(t, wanting), with("--cert", good.cert, "--key", good.pem), 4, "no TLS with proxy %s: ", "check --cert"},
		{"too old", secureFront(t, ancient), known, 4, "no TLS with proxy %s: ", "needs TLS 1.2 or later"},
		{"plain HTTP", web.Listener.Addr().String(), known, 4, "no TLS with proxy %s: it answered in plain HTTP", "use http://"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			target := tunneltest.Start(t, tunneltest.Say("hello")).Addr()
			stdout, stderr, code := runProgram(t, nil, culvert(t), append(append([]string{"dial", "-x", "https://" + tt.proxy}, tt.flags...), "--", target)...)
			sentence := "culvert dial: " + strings.Replace(tt.sentence, "%s", tt.proxy, 1)
			switch {
			case code != tt.code:
				t.Errorf("exit %d, want %d: %s", code, tt.code, stderr)
			case code == 0 && (stdout != "hello" || stderr != ""):
				t.Errorf("got %q and %q", stdout, stderr)
			case code != 0 && (!strings.HasPrefix(stderr, sentence) || !strings.Contains(stderr, "\nhint: ") || !strings.Contains(stderr, tt.hint) || strings.Count(stderr, "\n") != 2):
				t.Errorf("stderr is %q, want %q and %q", stderr, sentence, tt.hint)
			}
		})
	}
}

// --tls speaks with the target inside the tunnel: end of file is close_notify,
// and an end without one is told from it.
func TestDialTLSInside(t *testing.T) {
	t.Parallel()
	authority := issue(t, nil, "authority", tomorrow())
	config := &tls.Config{Certificates: []tls.Certificate{issue(t, authority, "target", tomorrow()).pair(t)}, NextProtos: []string{"two", "one"}}
	target := func(after func(*tls.Conn)) string {
		return tunneltest.Start(t, func(conn net.Conn) {
			secured := tls.Server(conn, config)
			text, err := io.ReadAll(secured) // through the client's close_notify
			if err == nil {
				io.WriteString(secured, secured.ConnectionState().NegotiatedProtocol+" "+string(text))
				after(secured)
			}
		}).Addr()
	}
	plain := httptest.NewServer(nil)
	defer plain.Close()
	for _, tt := range []struct {
		name, target string
		flags        []string
		code         int
		stdout, word string
	}{
		{"goodbye", target(func(c *tls.Conn) { c.Close() }), []string{"--tls-cacert", authority.cert, "--tls-alpn", "one,two"}, 0, "two said", ""},
		{"insecure", target(func(c *tls.Conn) { c.Close() }), []string{"--tls-insecure"}, 0, " said", ""},
		{"cut", target(func(c *tls.Conn) { c.NetConn().Close() }), []string{"--tls-cacert", authority.cert}, 10, " said", "close_notify"},
		{"unknown authority", target(func(c *tls.Conn) { c.Close() }), nil, 4, "", "its certificate is from an unknown authority"},
		{"wrong name", target(func(c *tls.Conn) { c.Close() }), []string{"--tls-cacert", authority.cert, "--tls-server-name", "else.test"}, 4, "", "not for else.test"},
		{"no TLS", plain.Listener.Addr().String(), []string{"--tls-insecure"}, 4, "", "plain HTTP"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			arg := append([]string{"dial", "-x", honest(t), "--tls"}, tt.flags...)
			stdout, stderr, code := runProgram(t, strings.NewReader("said"), culvert(t), append(arg, "--", tt.target)...)
			if code != tt.code || stdout != tt.stdout || !strings.Contains(stderr, tt.word) {
				t.Errorf("exit %d, %q, %q; want %d, %q, %q", code, stdout, stderr, tt.code, tt.stdout, tt.word)
			}
		})
	}
}

// The deadline covers the handshakes, with a proxy and inside the tunnel.
func TestDialTLSSilentIsExit9(t *testing.T) {
	t.Parallel()
	silent := tunneltest.Start(t, tunneltest.Silent).Addr()
	for _, tt := range []struct {
		words    []string
		sentence string
	}{
		{[]string{"-x", "https://" + silent, "--", "example.com:22"}, "proxy " + silent + " did not finish the TLS handshake in time"},
		{[]string{"-x", honest(t), "--tls", "--", silent}, silent + " did not finish the TLS handshake in time"},
	} {
		d := startDial(t, nil, nil, append([]string{"--timeout", "1s"}, tt.words...)...)
		d.wantExit(t, 9)
		if got := d.stderr.String(); !strings.HasPrefix(got, "culvert dial: "+tt.sentence+"\nhint: ") || !strings.Contains(got, "--timeout") || strings.Count(got, "\n") != 2 {
			t.Errorf("stderr %q, want %q and a hint at --timeout", got, tt.sentence)
		}
	}
}

// What came glued to the proxy's reply is what TLS inside the tunnel begins with.
func TestDialTLSInsideReadsWhatCameEarly(t *testing.T) {
	t.Parallel()
	proxy := tunneltest.StartProxy(t, tunneltest.ReadHead, tunneltest.Send("HTTP/1.1 200 OK\r\n\r\nSSH-2.0-early\r\n"), tunneltest.Hold).Addr()
	d := startDial(t, nil, nil, "-x", proxy, "--tls", "--", "example.com:22")
	d.wantExit(t, 4)
	if want := `not TLS, which begins with "SSH-2.0-early`; !strings.Contains(d.stderr.String(), want) {
		t.Errorf("stderr %q lacks %q", d.stderr.String(), want)
	}
}

// Flags that cannot be meant.
func TestDialTLSUsage(t *testing.T) {
	t.Parallel()
	garbage := write(t, t.TempDir()+"/garbage.pem", "nothing")
	for words, want := range map[string]string{
		"--tls-alpn h2":                                   "are for --tls",
		"-x https://a --pin nonsense":                     "a pin begins with sha256//",
		"-x https://a --cacert /none":                     "no such file or directory",
		"-x https://a --cacert " + garbage:                "there is no certificate in PEM in it",
		"-x https://a --key " + garbage:                   "a key without its certificate",
		"-x https://a --cert " + garbage:                  garbage + ": ",
		"-x https://a -x h2://b --proxy-server-name x -4": "one name cannot be right for all",
	} {
		_, stderr, code := runProgram(t, nil, culvert(t), append(append([]string{"dial"}, strings.Fields(words)...), "--", "example.com:22")...)
		if code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit %d, %q; want 2 and %q", words, code, stderr, want)
		}
	}
	environ := append(cleanEnviron(), "CULVERT_DIAL_INSECURE=true") // weakens too much to come from there
	proxy := secureFront(t, &tls.Config{Certificates: []tls.Certificate{issue(t, nil, "x", tomorrow()).pair(t)}})
	_, stderr, code := runProgramWith(t, environ, nil, culvert(t), "dial", "-x", "https://"+proxy, "--", "example.com:22")
	if code != 4 {
		t.Errorf("the environment made dial insecure: %d %s", code, stderr)
	}
}
