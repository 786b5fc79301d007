package proxy

import (
	"errors"
	"fmt"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/policy"
)

// ViaRule sends the targets that match a pattern through a route.
type ViaRule struct {
	Pattern *policy.Pattern // nil = every target
	Route   tunnel.Route    // the zero Route is direct: an exception to a later rule
	Or      []tunnel.Route  // tried in order, each if the one before cannot be taken
}

// routes returns the rule's routes in the order in which they are tried.
func (r *ViaRule) routes() []tunnel.Route { return append([]tunnel.Route{r.Route}, r.Or...) }

// ParseViaRule parses ROUTES, for every target, or PATTERN=ROUTES. A rule whose first
// "://" comes before its first "=" is ROUTES alone. ROUTES is what
// tunnel.ParseRoutes accepts, without socks5: names must not be resolved where the
// policy does not judge the addresses.
func ParseViaRule(s string) (ViaRule, error) {
	pattern, route, ok := strings.Cut(s, "=")
	if scheme := strings.Index(s, "://"); !ok || scheme >= 0 && scheme < len(pattern) || strings.HasPrefix(s, "unix:") {
		pattern, route = "", s
	}
	if ok && pattern == "" && route != s {
		return ViaRule{}, errors.New("the pattern before the = is empty")
	}
	var rule ViaRule
	routes, err := tunnel.ParseRoutes(route)
	if err != nil {
		return ViaRule{}, err
	}
	rule.Route = routes[0]
	if len(routes) > 1 {
		rule.Or = routes[1:]
	}
	for _, r := range routes {
		for _, h := range r.Hops {
			if h.Scheme == tunnel.SchemeSOCKS5 {
				return ViaRule{}, fmt.Errorf("%s: names would be resolved here, and nobody would judge where they lead: use socks5h", h)
			}
		}
	}
	if pattern == "" {
		return rule, nil
	}
	p, err := policy.ParsePattern(pattern)
	if at := strings.IndexByte(route, '@'); err != nil && at >= 0 && !strings.Contains(route[:at], "://") {
		// It may be the beginning of a password, so it is not quoted.
		return ViaRule{}, errors.New("what precedes the first = is no pattern: a = in a user name or password is written %3D")
	}
	if err != nil {
		return ViaRule{}, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	rule.Pattern = &p
	return rule, nil
}

// String returns the rule as it is written, without credentials.
func (r ViaRule) String() string {
	names := make([]string, 0, 1+len(r.Or))
	for _, route := range r.routes() {
		names = append(names, route.String())
	}
	routes := strings.Join(names, "|")
	if r.Pattern == nil {
		return routes
	}
	return r.Pattern.String() + "=" + routes
}
