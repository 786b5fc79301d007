package pac

import (
	"errors"
	"fmt"
	"strings"

	"culvert/tunnel"
)

// The limits of an answer: bytes of its text, and routes in it.
const (
	maxList   = 64 << 10
	maxRoutes = 64
)

// words are the keywords for proxies and their schemes. In Firefox and Chromium SOCKS
// without a number is version 4, as the keyword is older than version 5. They resolve
// the name for it themselves; here the proxy does (4a), as for SOCKS5.
var words = map[string]string{
	"PROXY": tunnel.SchemeHTTP, "HTTP": tunnel.SchemeHTTP, "HTTPS": tunnel.SchemeHTTPS,
	"SOCKS": tunnel.SchemeSOCKS4A, "SOCKS4": tunnel.SchemeSOCKS4A, "SOCKS5": tunnel.SchemeSOCKS5H,
}

// parseList parses the answer of a script: routes joined by semicolons, each a keyword in
// any case and, for a proxy, its HOST[:PORT]. An empty answer means direct. Unknown
// keywords are skipped, and so is SOCKS 4 for an IPv6 literal, which it cannot carry.
// Any other text is an error, and so is an answer of which no route is left, as that is
// no reason to go direct.
func parseList(list string, target tunnel.Authority) (routes []tunnel.Route, skipped []string, err error) {
	if len(list) > maxList {
		return nil, nil, fmt.Errorf("its answer is longer than %d bytes: \"%s\"", maxList, escape(list[:maxText]))
	}
	if strings.TrimSpace(list) == "" {
		return []tunnel.Route{{}}, nil, nil
	}
	for part := range strings.SplitSeq(list, ";") {
		fields := strings.Fields(part)
		if len(fields) == 0 {
			continue
		}
		if len(routes)+len(skipped) == maxRoutes {
			return nil, nil, fmt.Errorf("its answer has more than %d ways: \"%s\"", maxRoutes, escape(list))
		}
		way := strings.Join(fields, " ")
		route, reason, err := parseWay(fields, target)
		switch {
		case err != nil:
			return nil, nil, fmt.Errorf("its answer has \"%s\": %w", escape(way), err)
		case reason != "":
			skipped = append(skipped, escape(way)+" ("+reason+")")
		default:
			routes = append(routes, route)
		}
	}
	if len(routes) == 0 {
		return nil, skipped, fmt.Errorf("its answer has no way that culvert can take: \"%s\"", escape(list))
	}
	return routes, skipped, nil
}

// parseWay parses one route, or returns the reason why it is skipped.
func parseWay(fields []string, target tunnel.Authority) (route tunnel.Route, skip string, err error) {
	word := strings.ToUpper(fields[0])
	scheme := words[word]
	switch {
	case word == "DIRECT" && len(fields) == 1:
		return tunnel.Route{}, "", nil
	case word == "DIRECT":
		return tunnel.Route{}, "", errors.New("DIRECT stands alone")
	case scheme == "":
		return tunnel.Route{}, "not a kind of proxy that culvert knows", nil
	case len(fields) == 1:
		return tunnel.Route{}, "", errors.New("the proxy's HOST:PORT is missing")
	case len(fields) > 2:
		return tunnel.Route{}, "", errors.New("a semicolon is missing")
	case strings.ContainsAny(fields[1], "/@?#"):
		return tunnel.Route{}, "", errors.New("a proxy is HOST:PORT alone")
	}
	hop, err := tunnel.ParseHop(scheme + "://" + fields[1])
	if err != nil {
		for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(inner) {
			err = inner // without the text of the route, which the caller adds
		}
		return tunnel.Route{}, "", err
	}
	if scheme == tunnel.SchemeSOCKS4A && target.Addr().Is6() {
		return tunnel.Route{}, "SOCKS 4 carries no IPv6 address", nil
	}
	return tunnel.Route{Hops: []tunnel.Hop{hop}}, "", nil
}
