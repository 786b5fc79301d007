package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
)

// ViaRule sends the targets that match a pattern through a route.
type ViaRule struct {
	Pattern *Pattern // nil = every target
	Route   Route    // the zero Route is direct: an exception to a later rule
}

// ParseViaRule parses ROUTE, for every target, or PATTERN=ROUTE. It is a plain
// ROUTE if its first "://" stands before its first "=".
func ParseViaRule(s string) (ViaRule, error) {
	pattern, route, ok := strings.Cut(s, "=")
	if scheme := strings.Index(s, "://"); !ok || scheme >= 0 && scheme < len(pattern) || strings.HasPrefix(s, "unix:") {
		pattern, route = "", s
	}
	if ok && pattern == "" && route != s {
		return ViaRule{}, errors.New("the pattern before the = is empty")
	}
	var rule ViaRule
	var err error
	if rule.Route, err = ParseRoute(route); err != nil {
		return ViaRule{}, err
	}
	for _, h := range rule.Route.Hops {
		if h.Scheme == SchemeSOCKS5 {
			return ViaRule{}, fmt.Errorf("%s: names would be resolved here, and nobody would judge where they lead: use socks5h", h)
		}
	}
	if pattern == "" {
		return rule, nil
	}
	p, err := ParsePattern(pattern)
	if err != nil {
		return ViaRule{}, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	rule.Pattern = &p
	return rule, nil
}

// String returns the rule as it is written, without credentials.
func (r ViaRule) String() string {
	if r.Pattern == nil {
		return r.Route.String()
	}
	return r.Pattern.String() + "=" + r.Route.String()
}

// route is the way to a target: the first rule that matches, else direct.
func (s *Server) route(target Authority) Route {
	for _, rule := range s.Via {
		if rule.Pattern == nil || rule.Pattern.match(target, allPorts) {
			return rule.Route
		}
	}
	return Route{}
}

// dialVia opens a tunnel through parents. The name layer has been applied; a
// literal is judged by address here, a name is handed on unresolved. Our
// pseudonym joins Via, so that a loop is found (RFC 9110, section 7.6.3).
func (at *listening) dialVia(ctx context.Context, route Route, target Authority, via []string, rec *Record) (relaySide, *Error) {
	rec.Via = route.String()
	if e := at.judgeLiteral(target); e != nil {
		return relaySide{}, e
	}
	c := at.server.parentClient(route)
	received := strings.TrimPrefix(rec.Protocol, "http/")
	conn, e := c.open(ctx, target, []Field{{Name: "Via", Value: strings.Join(append(via, received+" "+at.server.pseudonym()), ", ")}})
	if e != nil {
		return relaySide{}, parentFailure(e)
	}
	if conn.addr.IsValid() {
		rec.Addr = conn.addr.String()
	}
	return relaySide{conn: conn.NetConn(), early: conn.takeEarly()}, nil
}

// judgeLiteral applies the address layer where no name has to be resolved.
func (at *listening) judgeLiteral(target Authority) *Error {
	if !target.Addr().IsValid() {
		return nil
	}
	e := at.judgeAddr(netip.AddrPortFrom(target.Addr(), target.Port()))
	if e != nil {
		e.Target = target
	}
	return e
}

// parents are the Clients of the routes, so that tunnels share connections to
// parents that speak HTTP/2.
type parents struct {
	mu      sync.Mutex
	clients map[parentKey]*Client
}

// parentKey is a rule's route, or its first hops: no two rules share credentials.
type parentKey struct {
	first *Hop
	hops  int
}

// parentClient opens tunnels along a route within ConnectTimeout. Who the
// parents are is the operator's word: the policy does not judge them.
func (s *Server) parentClient(route Route) *Client {
	timeout := s.connectTimeout()
	if timeout == 0 {
		timeout = -1
	}
	made := &Client{Route: route, Resolver: s.Resolver, ConnectTimeout: timeout, Timeout: timeout}
	if route.Direct() {
		return made
	}
	p := &s.run.parents
	p.mu.Lock()
	defer p.mu.Unlock()
	key := parentKey{&route.Hops[0], len(route.Hops)}
	if have := p.clients[key]; have != nil {
		return have
	}
	if p.clients == nil {
		p.clients = make(map[parentKey]*Client)
	}
	p.clients[key] = made
	return made
}

// closeIdle closes the connections that tunnels shared.
func (p *parents) closeIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.clients {
		c.CloseIdleConnections()
	}
}

// parentFailure makes an answer of what became of a parent: the client learns
// the kind of failure, not the parent's name, and never that the parent wanted
// credentials, which are the operator's affair.
func parentFailure(e *Error) *Error {
	out := *e
	switch {
	case e.Phase != PhaseReply:
		out.Detail = "the next proxy: " + e.Type.Words()
	case e.Type == ErrorCredentials:
		out.Type, out.Detail = ErrorProtocol, "the next proxy wants credentials that this proxy does not have"
	case e.Type == ErrorRequest:
		out.Type, out.Detail = ErrorProtocol, "the next proxy did not understand the request"
	default:
		out.Detail = "the next proxy: " + e.Type.Words()
	}
	return &out
}
