package tunnel

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"culvert/tunnel/internal/wire"

	"golang.org/x/net/http/httpproxy"
)

// proxyVariables are the variables that name the proxy for tunnels. The first one
// that is not empty counts. http_proxy is not among them: it is for plain HTTP, and
// in a CGI program a client can set it by a field of its request.
var proxyVariables = [...]string{"CULVERT_PROXY", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"}

// RouteFromEnvironment chooses the route to a target by environment variables, which
// it reads by getenv, normally os.Getenv. why is a clause for a person that says how
// the route was chosen; it is escaped and contains no password. A proxy that cannot
// be used is an error, never a reason to go direct.
//
// NO_PROXY, or no_proxy if that is empty, exempts targets as
// golang.org/x/net/http/httpproxy defines: * exempts all; a name exempts itself and
// its subdomains, .name those alone; an address or CIDR exempts literals, as no name
// is resolved here; with a port, each is for that port only. "localhost" and
// loopback literals are always exempt, as to a proxy they mean another machine.
func RouteFromEnvironment(target Authority, getenv func(string) string) (route Route, why string, err error) {
	variable, value := firstSet(getenv, proxyVariables[:]...)
	if variable == "" {
		why = "no proxy variable is set"
		if only, _ := firstSet(getenv, "http_proxy", "HTTP_PROXY"); only != "" {
			why = "only " + only + " is set, which is not for tunnels: set HTTPS_PROXY"
		}
		return Route{}, why, nil
	}
	if exempt := exemption(target, getenv); exempt != "" {
		return Route{}, exempt, nil
	}
	if value == "direct" {
		return Route{}, variable + " says so", nil
	}
	if strings.Contains(value, ",") {
		return Route{}, "", fmt.Errorf("%s: %w", variable, errors.New("a variable holds one proxy: give several with --proxy, once for each"))
	}
	hop, err := ParseHop(value)
	if err != nil {
		return Route{}, "", fmt.Errorf("%s: %w", variable, err)
	}
	if hop.TLS != nil && hop.TLS.Insecure {
		return Route{}, "", fmt.Errorf("%s: insecure cannot come from the environment: say --insecure", variable)
	}
	return Route{Hops: []Hop{hop}, Source: variable}, "from " + variable, nil
}

// firstSet returns the first variable that is not empty, and its value.
func firstSet(getenv func(string) string, names ...string) (name, value string) {
	for _, name := range names {
		if value := getenv(name); value != "" {
			return name, value
		}
	}
	return "", ""
}

// exemption returns the reason why a target goes direct although a proxy is set, or
// "" if it does not.
func exemption(target Authority, getenv func(string) string) string {
	if exempt("", target) {
		return "this machine is not for a proxy to reach"
	}
	variable, list := firstSet(getenv, "NO_PROXY", "no_proxy")
	for entry := range strings.SplitSeq(list, ",") {
		if exempt(entry, target) {
			return variable + " has " + wire.Escape([]byte(strings.TrimSpace(entry)), 80)
		}
	}
	return ""
}

// exempt reports whether httpproxy exempts the target. That package decides for a
// URL, and only if there is a proxy.
func exempt(noProxy string, target Authority) bool {
	config := httpproxy.Config{HTTPSProxy: "http://proxy.invalid", NoProxy: noProxy}
	proxy, err := config.ProxyFunc()(&url.URL{Scheme: "https", Host: target.String()})
	return proxy == nil && err == nil
}
