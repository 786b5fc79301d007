package pac

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"

	"culvert/tunnel"
	"culvert/tunnel/dialer"
)

// DefaultLoadTimeout is the limit for reading a script.
const DefaultLoadTimeout = 10 * time.Second

// maxScript limits the text of a script, in bytes, and maxRedirects the redirects that
// are followed.
const (
	maxScript    = 1 << 20
	maxRedirects = 5
)

// Loader reads scripts. The zero Loader is ready to use. Its methods are safe for
// concurrent use.
type Loader struct {
	// Timeout limits one Load; 0 = DefaultLoadTimeout, negative = none.
	Timeout time.Duration

	// TLS is the configuration for https; nil = trust the system's roots.
	TLS *tls.Config

	// UserAgent is the value of the User-Agent field; "" = no such field.
	UserAgent string

	// Resolver looks up the host of a URL; nil = the system's.
	Resolver dialer.Resolver
}

// Load calls Load of the zero Loader.
func Load(ctx context.Context, source string) (*Script, error) { return new(Loader).Load(ctx, source) }

// Load reads a script of at most 1 MiB from a file, or from an http, https or file URL.
// It connects directly even if the environment names a proxy, as the script is to tell
// the proxy. It follows redirects, from https to https only. Errors are *Error. The
// script is not run: only Find shows whether it is valid.
func (l *Loader) Load(ctx context.Context, source string) (*Script, error) {
	timeout := l.Timeout
	if timeout == 0 {
		timeout = DefaultLoadTimeout
	}
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, &tooLong{timeout})
		defer cancel()
	}
	return l.load(ctx, source, false)
}

// load is Load without the timeout. If absolute is set, the host is looked up without
// search domains.
func (l *Loader) load(ctx context.Context, source string, absolute bool) (*Script, error) {
	name, text, contentType, e := source, []byte(nil), "", (*Error)(nil)
	switch u, path := location(source); {
	case u != nil:
		name = withoutUser(u)
		text, contentType, e = l.fetch(ctx, u, absolute)
	case path != "":
		text, e = readFile(ctx, path)
	default:
		e = &Error{Detail: "this is neither a file nor an http, https or file URL"}
	}
	if name == source && !filepath.IsAbs(source) && !strings.HasPrefix(source, ".") {
		name = tunnel.WithoutUserinfo(source) // a malformed URL passes for the name of a file
	}
	if e == nil {
		text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) // a byte order mark
		e = check(text, contentType)
	}
	if e != nil {
		e.Stage, e.Source = StageLoad, name
		var long *tooLong
		if errors.As(context.Cause(ctx), &long) {
			e.Err = long
		}
		return nil, e
	}
	return &Script{Source: name, Text: string(text)}, nil
}

// location returns the URL to fetch or the path of the file to read. Both are empty if
// source is neither.
func location(source string) (*url.URL, string) {
	scheme, _, isURL := strings.Cut(source, "://")
	scheme = strings.ToLower(scheme)
	if rest, ok := strings.CutPrefix(source, "file:/"); ok && !isURL {
		source, scheme, isURL = "file:///"+rest, "file", true
	}
	if !isURL {
		return nil, source
	}
	u, err := url.Parse(source)
	switch {
	case err != nil:
	case scheme == "file" && (u.Host == "" || u.Host == "localhost"):
		path := u.Path
		if runtime.GOOS == "windows" {
			path = strings.TrimPrefix(path, "/") // file:///C:/...
		}
		return nil, filepath.FromSlash(path)
	case (scheme == "http" || scheme == "https") && u.Host != "":
		return u, ""
	}
	return nil, ""
}

// withoutUser returns a URL without its userinfo, for messages.
func withoutUser(u *url.URL) string {
	shown := *u
	shown.User = nil
	return shown.String()
}

// readFile reads a file or a pipe.
func readFile(ctx context.Context, path string) ([]byte, *Error) {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		return nil, &Error{Detail: "this is a directory"}
	}
	var f *os.File
	if err == nil {
		f, err = os.Open(path)
	}
	if err != nil {
		var p *os.PathError
		if errors.As(err, &p) {
			err = p.Err // the message has the name already
		}
		return nil, &Error{Err: err}
	}
	defer f.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = f.SetReadDeadline(deadline) // works for a pipe; a file needs none
	}
	return readBounded(f)
}

func readBounded(r io.Reader) ([]byte, *Error) {
	text, err := io.ReadAll(io.LimitReader(r, maxScript+1))
	switch {
	case err != nil:
		return nil, &Error{Detail: "it could not be read to its end", Err: err}
	case len(text) > maxScript:
		return nil, &Error{Detail: fmt.Sprintf("it is longer than %d bytes", maxScript)}
	}
	return text, nil
}

// hintAddress is the hint for a server that does not send a script.
const hintAddress = "give the address of the script itself: it often ends in .pac or in wpad.dat"

// fetch gets the script from a web server.
func (l *Loader) fetch(ctx context.Context, u *url.URL, absolute bool) ([]byte, string, *Error) {
	transport := &http.Transport{TLSClientConfig: l.TLS, DialContext: l.dialer(absolute), DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10}
	client := &http.Client{Transport: transport, CheckRedirect: checkRedirect}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, "", &Error{Err: err}
	}
	req.Header.Set("Accept", "application/x-ns-proxy-autoconfig, */*;q=0.5")
	req.Header.Set("User-Agent", l.UserAgent) // none if empty
	resp, err := client.Do(req)
	if err != nil {
		var in *url.Error
		if errors.As(err, &in) {
			err = in.Err // the message has the URL already
		}
		return nil, "", &Error{Detail: "it cannot be fetched", Err: err}
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, "", &Error{Detail: "the server answered " + escape(resp.Status), Hint: hintAddress}
	}
	text, e := readBounded(resp.Body)
	return text, resp.Header.Get("Content-Type"), e
}

// checkRedirect allows a few redirects to http and https, but none from https to http.
func checkRedirect(req *http.Request, via []*http.Request) error {
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("it is elsewhere more than %d times", maxRedirects)
	case req.URL.Scheme != "http" && req.URL.Scheme != "https":
		return fmt.Errorf("it is said to be at %s", escape(withoutUser(req.URL)))
	case req.URL.Scheme == "http" && via[len(via)-1].URL.Scheme == "https":
		return fmt.Errorf("it is said to be at %s, which is not https", escape(withoutUser(req.URL)))
	}
	return nil
}

// dialer connects to the first address of a host that takes the connection.
func (l *Loader) dialer(absolute bool) func(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	if l.Resolver == nil && !absolute {
		return d.DialContext
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(addr)
		if err != nil || net.ParseIP(host) != nil {
			return d.DialContext(ctx, network, addr)
		}
		if absolute {
			host = strings.TrimSuffix(host, ".") + "."
		}
		addrs, err := l.resolver().LookupNetIP(ctx, "ip", host)
		if err == nil && len(addrs) == 0 {
			err = errors.New("its host has no address")
		}
		for _, a := range addrs {
			var conn net.Conn
			if conn, err = d.DialContext(ctx, network, net.JoinHostPort(a.Unmap().String(), port)); err == nil {
				return conn, nil
			}
		}
		return nil, err
	}
}

func (l *Loader) resolver() dialer.Resolver {
	if l.Resolver != nil {
		return l.Resolver
	}
	return net.DefaultResolver
}

// check returns an error for text that is clearly not a script, before an engine runs
// it.
func check(text []byte, contentType string) *Error {
	start := bytes.TrimLeft(text[:min(len(text), 4<<10)], " \t\r\n")
	html := strings.Contains(strings.ToLower(contentType), "html") && !bytes.Contains(text, []byte("FindProxyForURL"))
	switch {
	case len(start) == 0 && len(text) < 4<<10:
		return &Error{Detail: "it is empty"}
	case html, len(start) > 0 && start[0] == '<' && !bytes.HasPrefix(start, []byte("<!--")): // which begins a comment in JavaScript too
		return &Error{Detail: "it is a web page, no script", Hint: hintAddress}
	case bytes.HasPrefix(text, []byte("\xff\xfe")), bytes.HasPrefix(text, []byte("\xfe\xff")):
		return &Error{Detail: "it is in UTF-16", Hint: "save it as UTF-8"}
	case bytes.IndexByte(text, 0) >= 0:
		return &Error{Detail: "it is no text"}
	}
	return nil
}

// sourceText returns a script in valid UTF-8, as the engine needs it. The comments of
// old scripts may be in another encoding.
func sourceText(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\ufffd")
}
