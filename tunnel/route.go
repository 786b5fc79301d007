package tunnel

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// The schemes of a Hop.
const (
	SchemeHTTP  = "http"  // CONNECT over TCP
	SchemeHTTPS = "https" // CONNECT over TLS; the proxy chooses HTTP/2 or HTTP/1.1
	SchemeH2    = "h2"    // CONNECT over HTTP/2 over TLS
	SchemeH2C   = "h2c"   // CONNECT over HTTP/2 in clear, by prior knowledge
	SchemeUnix  = "unix"  // CONNECT over a unix socket

	SchemeSOCKS5  = "socks5"  // SOCKS 5 (RFC 1928); culvert resolves the names
	SchemeSOCKS5H = "socks5h" // SOCKS 5; the proxy resolves names
	SchemeSOCKS4A = "socks4a" // SOCKS 4a; the proxy resolves names
)

// Hop is one proxy on a Route.
type Hop struct {
	Scheme      string       // one of the Scheme constants
	Proxy       Authority    // where it listens; zero for SchemeUnix
	Path        string       // the path of the socket, for SchemeUnix only
	Credentials *Credentials // sent to this proxy and to no other; nil = none
	TLS         *TLSOptions  // for SchemeHTTPS and SchemeH2 only; nil = the zero TLSOptions
}

// String returns the URL of the hop without its credentials.
func (h Hop) String() string {
	if h.Scheme == SchemeUnix {
		return "unix:" + h.Path
	}
	return h.Scheme + "://" + h.Proxy.String()
}

// Name returns the hop as a message names it: HOST:PORT or unix:PATH.
func (h Hop) Name() string {
	if h.Scheme == SchemeUnix {
		return "unix:" + h.Path
	}
	return h.Proxy.String()
}

// Route is the way to a target: through the hops in order, or direct if there are
// none.
type Route struct {
	Hops []Hop

	// Source is where the route was given, as "HTTPS_PROXY", so that a hint can say
	// where to correct it; "" = unknown.
	Source string
}

// Direct reports whether the route leads straight to the target.
func (r Route) Direct() bool { return len(r.Hops) == 0 }

// Equal reports whether both routes lead through the same hops with the same
// credentials and TLSOptions, so that a connection opened for one may serve the
// other. Their Sources do not count. TLSOptions are the same if the pointers are
// equal.
func (r Route) Equal(other Route) bool { return slices.EqualFunc(r.Hops, other.Hops, Hop.equal) }

func (h Hop) equal(other Hop) bool {
	return h.Scheme == other.Scheme && h.Proxy == other.Proxy && h.Path == other.Path &&
		h.Credentials.equal(other.Credentials) && h.TLS == other.TLS
}

// HopTarget returns the authority that hop i is asked to connect to: the next hop's,
// or the target for the last hop.
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

// Check returns an error if a hop of the route cannot be used: it lacks its address
// or path, has an unknown scheme, or has credentials that cannot be sent. The routes
// of ParseRoute pass.
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

// ParseRoute parses the URLs of hops joined by commas, or the word "direct". Errors
// never contain a password.
func ParseRoute(s string) (Route, error) {
	if strings.Contains(s, "|") {
		return Route{}, errors.New("this is one route, and | stands between several: give each by itself")
	}
	pieces := strings.Split(s, ",")
	r, err := ParseHops(pieces)
	if err != nil && cutsUserinfo(pieces) {
		return Route{}, errCutUserinfo
	}
	return r, err
}

// errCutUserinfo quotes nothing, since any piece may be part of a password.
var errCutUserinfo = errors.New("a comma or | in a user name or password is written %2C or %7C")

// cutsUserinfo reports whether a separator within a user name or password may have made
// the pieces: one without an @ that is no hop by itself comes before one with an @.
func cutsUserinfo(pieces []string) bool {
	doubtful := false
	for _, piece := range pieces {
		if strings.Contains(piece, "@") {
			if doubtful {
				return true
			}
			continue
		}
		if _, err := ParseHop(piece); err != nil && piece != "direct" {
			doubtful = true
		}
	}
	return false
}

// ParseRoutes parses routes joined by |. Each is to be tried if the one before it
// fails. Errors never contain a password.
func ParseRoutes(s string) (routes []Route, err error) {
	for one := range strings.SplitSeq(s, "|") {
		r, err := ParseRoute(one)
		if err != nil && cutsUserinfo(strings.FieldsFunc(s, func(c rune) bool { return c == '|' || c == ',' })) {
			return nil, errCutUserinfo
		}
		if err != nil {
			return nil, err
		}
		routes = append(routes, r)
	}
	return routes, nil
}

// ParseHops parses the URLs of the hops of a route in order, or "direct" alone.
// Errors never contain a password.
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

// schemePorts are the default ports of the schemes that have a host.
var schemePorts = map[string]uint16{SchemeHTTP: 80, SchemeHTTPS: 443, SchemeH2: 443, SchemeH2C: 80,
	SchemeSOCKS5: 1080, SchemeSOCKS5H: 1080, SchemeSOCKS4A: 1080}

// ParseHop parses a proxy URL: http://[USER:PASSWORD@]HOST[:PORT], the same
// without a scheme or with https, h2, h2c, socks5, socks5h or socks4a, or
// unix:PATH. The default port is 80, over TLS 443, for SOCKS 1080. A query may
// name a file of credentials, as in http://proxy:3128?credentials=FILE, and with https
// and h2 give the TLSOptions of this hop, as in
// https://proxy:443?cacert=FILE&pin=sha256//BASE64; ParseHop reads the files. An @ in
// the query is written %40.
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
	masked = WithoutUserinfo(masked)
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
		if err := hop.parseQuery(query); err != nil {
			return Hop{}, fmt.Errorf("proxy %q: %w", masked, err)
		}
	}
	return hop, nil
}

// parseQuery parses the query of the URL of a hop and reads the files that it names.
// Its keys are credentials, the name of a file for ReadCredentials, and, for https and
// h2 only, cacert, cert, key, server-name, pin (any number of times) and insecure, with
// the meaning of the flags of these names.
func (h *Hop) parseQuery(query string) error {
	var files ClientTLSFiles
	ofTLS := false // a key is about TLS
	for part := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(part, "=")
		value, err := url.PathUnescape(value) // a + in a pin is a +
		if err != nil {
			return fmt.Errorf("%s has a bad %%-escape: a %% itself is written %%25", name)
		}
		if name != "credentials" {
			ofTLS = true
		}
		if ofTLS && h.Scheme != SchemeHTTPS && h.Scheme != SchemeH2 {
			return errors.New("a path, query or fragment is not allowed, only ?credentials=FILE: the others are for https and h2")
		}
		switch name {
		case "credentials":
			if err := h.readCredentials(value); err != nil {
				return err
			}
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
			return fmt.Errorf("%q behind the ? means nothing: there are credentials, cacert, cert, key, server-name, pin, insecure", name)
		}
		if value == "" && name != "insecure" {
			return fmt.Errorf("%s has no value", name)
		}
	}
	if !ofTLS {
		return nil
	}
	var err error
	h.TLS, _, err = files.Options()
	return err
}

// readCredentials reads the hop's credentials from a file, which nobody else may read.
func (h *Hop) readCredentials(path string) error {
	switch {
	case path == "":
		return errors.New("credentials has no value")
	case h.Credentials != nil:
		return errors.New("there are credentials before the @, or twice behind the ?: leave all but one out")
	}
	c, exposed, err := ReadCredentials(path)
	if err == nil && exposed {
		err = fmt.Errorf("others can read %s: keep the password to yourself: chmod 600 %[1]s", path)
	}
	if err != nil {
		return err
	}
	c.Source = path
	h.Credentials = &c
	return nil
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

// maxSocketPath is the length of the longest path that fits into the smallest
// sockaddr_un of the supported systems.
const maxSocketPath = 103

// IsSOCKS reports whether the hop is a SOCKS proxy.
func (h Hop) IsSOCKS() bool {
	return h.Scheme == SchemeSOCKS5 || h.Scheme == SchemeSOCKS5H || h.Scheme == SchemeSOCKS4A
}

// MayUseHTTP2 reports whether the connection to the hop is, or may by ALPN turn out
// to be, an HTTP/2 connection, which tunnels can share.
func (h Hop) MayUseHTTP2() bool {
	return h.Scheme == SchemeHTTPS || h.Scheme == SchemeH2 || h.Scheme == SchemeH2C
}

// The names of the protocols in ALPN (RFC 7301, section 6).
const (
	ALPNHTTP1 = "http/1.1"
	ALPNHTTP2 = "h2"
)
