package tunnel

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"culvert/tunnel/internal/wire"
)

// The schemes of a Hop.
const (
	SchemeHTTP  = "http"  // CONNECT over TCP
	SchemeHTTPS = "https" // CONNECT over TLS; the proxy chooses HTTP/2 or HTTP/1.1
	SchemeH2    = "h2"    // CONNECT over HTTP/2 over TLS
	SchemeH2C   = "h2c"   // CONNECT over HTTP/2 in clear, by prior knowledge
	SchemeUnix  = "unix"  // CONNECT over a unix socket

	SchemeSOCKS5  = "socks5"  // SOCKS 5 (RFC 1928); names are resolved here
	SchemeSOCKS5H = "socks5h" // SOCKS 5; the proxy resolves names
	SchemeSOCKS4A = "socks4a" // SOCKS 4a; the proxy resolves names
)

// Credentials are a user name and a password for one proxy.
type Credentials struct {
	User, Password string

	// Source is what named them, as "--proxy-user", so that a hint can say where
	// to correct them; "" = the route's Source.
	Source string
}

// Hop is one proxy on a Route.
type Hop struct {
	Scheme      string       // one of the Scheme constants
	Proxy       Authority    // where it listens; zero for SchemeUnix
	Path        string       // the socket's path, SchemeUnix only
	Credentials *Credentials // sent to this proxy and to no other; nil = none
	TLS         *TLSOptions  // SchemeHTTPS and SchemeH2 only; nil = the zero TLSOptions
}

// String returns the hop's URL without its credentials.
func (h Hop) String() string {
	if h.Scheme == SchemeUnix {
		return "unix:" + h.Path
	}
	return h.Scheme + "://" + h.Proxy.String()
}

// Name returns the hop as a sentence names it: host:port, or the socket.
func (h Hop) Name() string {
	if h.Scheme == SchemeUnix {
		return "unix:" + h.Path
	}
	return h.Proxy.String()
}

// Route is the way to a target: through the hops in order, or direct where
// there are none.
type Route struct {
	Hops []Hop

	// Source is what named the proxy, as "HTTPS_PROXY", so that a hint can say
	// where to correct it; "" = nothing that a person could look at.
	Source string
}

// Direct reports whether the route leads straight to the target.
func (r Route) Direct() bool { return len(r.Hops) == 0 }

// Equal reports whether both routes lead through the same hops, with the same
// credentials and the same TLSOptions, so that one may take a connection which
// the other has opened. What named them does not count. TLSOptions are the same
// if they are one value in memory: certificates are not compared.
func (r Route) Equal(other Route) bool { return slices.EqualFunc(r.Hops, other.Hops, Hop.equal) }

func (h Hop) equal(other Hop) bool {
	return h.Scheme == other.Scheme && h.Proxy == other.Proxy && h.Path == other.Path &&
		h.Credentials.equal(other.Credentials) && h.TLS == other.TLS
}

// equal also compares no credentials, which are nil.
func (c *Credentials) equal(other *Credentials) bool {
	if c == nil || other == nil {
		return c == other
	}
	return c.User == other.User && c.Password == other.Password
}

// Next is what hop i is asked for on the way to a target.
func (r Route) HopTarget(i int, target Authority) Authority {
	if i+1 < len(r.Hops) {
		return r.Hops[i+1].Proxy
	}
	return target
}

// String returns the hops' URLs joined by commas, or "direct".
func (r Route) String() string {
	if r.Direct() {
		return "direct"
	}
	names := make([]string, len(r.Hops))
	for i, h := range r.Hops {
		names[i] = h.String()
	}
	return strings.Join(names, ",")
}

// Check says why the hops cannot be used: ParseRoute makes none such, a caller
// that fills in the struct may.
func (r Route) Check() error {
	for i, h := range r.Hops {
		switch {
		case schemePorts[h.Scheme] != 0 && !h.Proxy.IsZero():
		case h.Scheme == SchemeUnix && i == 0 && h.Path != "":
		default:
			return fmt.Errorf("hop %d of the route is not usable", i+1)
		}
		if h.Credentials == nil {
			continue
		}
		if err := h.Credentials.Check(); err != nil {
			return err
		}
	}
	return nil
}

// ParseRoute parses hops joined by commas, or the word "direct". Errors never
// hold a password.
func ParseRoute(s string) (Route, error) {
	if strings.Contains(s, "|") {
		return Route{}, errors.New("this is one route, and | stands between several: give each by itself")
	}
	return ParseHops(strings.Split(s, ","))
}

// ParseRoutes parses routes joined by |, each to be tried where the one before
// cannot be taken. Errors never hold a password.
func ParseRoutes(s string) (routes []Route, err error) {
	for one := range strings.SplitSeq(s, "|") {
		r, err := ParseRoute(one)
		if err != nil {
			return nil, err
		}
		routes = append(routes, r)
	}
	return routes, nil
}

// ParseHops parses the URLs of a route's hops in order, or "direct" alone.
// Errors never hold a password.
func ParseHops(urls []string) (Route, error) {
	if len(urls) == 1 && urls[0] == "direct" {
		return Route{}, nil
	}
	var r Route
	for i, s := range urls {
		h, err := ParseHop(s)
		if err != nil {
			return Route{}, err
		}
		if i > 0 && h.Scheme == SchemeUnix {
			return Route{}, fmt.Errorf("%s: a unix socket can only be the first hop", h)
		}
		r.Hops = append(r.Hops, h)
	}
	return r, nil
}

// schemePorts are those of the schemes that have a host.
var schemePorts = map[string]uint16{SchemeHTTP: 80, SchemeHTTPS: 443, SchemeH2: 443, SchemeH2C: 80,
	SchemeSOCKS5: 1080, SchemeSOCKS5H: 1080, SchemeSOCKS4A: 1080}

// ParseHop parses a proxy URL: http://[USER:PASSWORD@]HOST[:PORT], the same
// without a scheme or with https, h2, h2c, socks5, socks5h or socks4a, or
// unix:PATH. The port defaults to 80, over TLS to 443, for SOCKS to 1080. Behind
// https and h2 a query may tell how TLS is spoken with this hop, as in
// https://proxy:443?cacert=FILE&pin=sha256//BASE64; the files are read. An @ in
// them is written %40.
func ParseHop(s string) (Hop, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		return parseUnixHop(path)
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		scheme, rest = SchemeHTTP, s
	}
	scheme = strings.ToLower(scheme)
	userinfo, hostport := "", rest
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		userinfo, hostport = rest[:i+1], rest[i+1:]
	}
	hostport, query, asks := strings.Cut(hostport, "?")
	masked := hostport
	if ok {
		masked = scheme + "://" + hostport
	}
	switch {
	case s == "":
		return Hop{}, errors.New("the proxy is empty: give http://HOST:PORT")
	case s == "direct":
		return Hop{}, errors.New("direct stands alone, not among hops")
	case schemePorts[scheme] == 0:
		return Hop{}, fmt.Errorf("proxy %q: the scheme %q is not supported: use http, https, h2, h2c, socks5h, socks5, socks4a or unix:PATH", masked, scheme)
	}
	hostport = strings.TrimSuffix(hostport, "/")
	proxy, err := ParseAuthorityDefaultPort(hostport, schemePorts[scheme])
	if err != nil {
		return Hop{}, fmt.Errorf("proxy %q: %w", masked, err)
	}
	hop := Hop{Scheme: scheme, Proxy: proxy}
	if hop.Credentials, err = parseUserinfo(userinfo); err != nil {
		return Hop{}, fmt.Errorf("proxy %q: %w", masked, err)
	}
	if asks {
		if hop.TLS, err = hop.parseTLS(query); err != nil {
			return Hop{}, fmt.Errorf("proxy %q: %w", masked, err)
		}
	}
	return hop, nil
}

// parseTLS reads the query of a hop's URL: cacert, cert, key, server-name, pin
// (several) and insecure, as the flags of these names, for this hop alone. The
// files are read.
func (h Hop) parseTLS(query string) (*TLSOptions, error) {
	if h.Scheme != SchemeHTTPS && h.Scheme != SchemeH2 {
		return nil, errors.New("a path, query or fragment is not allowed: what stands behind a ? is for https and h2")
	}
	var files ClientTLSFiles
	for part := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(part, "=")
		value, err := url.PathUnescape(value) // a + in a pin is a +
		if err != nil {
			return nil, fmt.Errorf("%s has a bad %%-escape: a %% itself is written %%25", name)
		}
		switch name {
		case "cacert":
			files.Roots = value
		case "cert":
			files.Cert = value
		case "key":
			files.Key = value
		case "server-name":
			files.ServerName = value
		case "pin":
			files.Pins = append(files.Pins, value)
		case "insecure":
			files.Insecure = value == "" || value == "1" || value == "true"
		default:
			return nil, fmt.Errorf("%q behind the ? means nothing: there are cacert, cert, key, server-name, pin, insecure", name)
		}
		if value == "" && name != "insecure" {
			return nil, fmt.Errorf("%s has no value", name)
		}
	}
	options, _, err := files.Options()
	return options, err
}

// parseUnixHop parses the path of a unix socket, which two slashes may precede.
func parseUnixHop(path string) (Hop, error) {
	path = strings.TrimPrefix(path, "//")
	switch {
	case path == "":
		return Hop{}, errors.New("unix: needs the path of a socket")
	case strings.IndexByte(path, 0) >= 0:
		return Hop{}, errors.New("unix: the path holds a NUL")
	case len(path) > maxSocketPath:
		return Hop{}, fmt.Errorf("unix: the path is longer than the %d bytes a socket may have", maxSocketPath)
	}
	return Hop{Scheme: SchemeUnix, Path: path}, nil
}

// maxSocketPath is what the smallest sockaddr_un of our systems carries.
const maxSocketPath = 103

// ParseHostDefaultPort is ParseAuthority with a port to fall back on.
func ParseAuthorityDefaultPort(s string, port uint16) (Authority, error) {
	a, err := ParseAuthority(s)
	if !errors.Is(err, ErrNoPort) || strings.HasSuffix(s, ":") {
		return a, err
	}
	return ParseAuthority(fmt.Sprintf("%s:%d", s, port))
}

// parseUserinfo takes USER:PASSWORD@ apart, percent-decoded (RFC 3986, section
// 3.2.1). Control characters are refused before anything is sent (RULES 10).
func parseUserinfo(s string) (*Credentials, error) {
	if s == "" {
		return nil, nil
	}
	user, password, _ := strings.Cut(strings.TrimSuffix(s, "@"), ":")
	var c Credentials
	var err1, err2 error
	c.User, err1 = url.PathUnescape(user)
	c.Password, err2 = url.PathUnescape(password)
	if err1 != nil || err2 != nil {
		return nil, errors.New("the user name or password before the @ has a bad %-escape: a % itself is written %25")
	}
	return &c, c.Check()
}

// Check says why the credentials cannot be sent by Basic (RFC 7617, section 2).
func (c Credentials) Check() error {
	switch {
	case strings.Contains(c.User, ":"):
		return errors.New("a user name cannot hold a colon")
	case wire.HasControl(c.User) || wire.HasControl(c.Password):
		return errors.New("the credentials hold a control character")
	}
	return nil
}

// IsSOCKS reports whether the hop is spoken to in SOCKS.
func (h Hop) IsSOCKS() bool {
	return h.Scheme == SchemeSOCKS5 || h.Scheme == SchemeSOCKS5H || h.Scheme == SchemeSOCKS4A
}

// MayShare reports whether the hop may turn out to speak HTTP/2.
func (h Hop) MayUseHTTP2() bool {
	return h.Scheme == SchemeHTTPS || h.Scheme == SchemeH2 || h.Scheme == SchemeH2C
}

// The protocols' names in ALPN (RFC 7301, section 6).
const (
	ALPNHTTP1 = "http/1.1"
	ALPNHTTP2 = "h2"
)

// Basic is the Proxy-Authorization value of RFC 7617.
func (c Credentials) Basic() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.User+":"+c.Password))
}
