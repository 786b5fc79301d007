package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"

	"culvert/tunnel"
)

// Policy says where clients may go, in two layers: JudgeTarget judges what is
// asked for, JudgeAddr every address where that leads. In both, deny wins and
// what nothing allows is denied. The zero Policy allows every public address
// on ports 22, 80 and 443.
//
// Fields must not change, nor the Policy be copied, once a method was called.
// Methods are safe for concurrent use.
type Policy struct {
	// Allow and Deny judge the target. An Allow without ports means 22, 80 and
	// 443, a Deny without ports all. A nil Allow is *:22,80,443; one that is
	// empty but not nil allows nothing. A Deny by address or CIDR judges
	// literals, and every address in the second layer too.
	Allow, Deny []Pattern

	// AllowAddr and DenyAddr judge addresses. A nil AllowAddr is the class
	// public; one that is empty but not nil allows nothing. The class metadata
	// is allowed only by its name or by an exact address, whatever CIDR
	// contains it.
	AllowAddr, DenyAddr []AddrRule

	// IsOwn says whether an address is this host's, which makes its class
	// loopback; nil = ask the system for the interfaces' addresses. It must be
	// safe for concurrent use.
	IsOwn func(netip.Addr) bool

	once            sync.Once
	own             HostAddrs
	isOwn           func(netip.Addr) bool
	defaultAddr     bool // AllowAddr is a default, not an operator's word
	allow, deny     patternIndex
	allowAt, denyAt addrIndex
}

// Decision is what a policy says about one target or address.
type Decision struct {
	Allowed bool
	Rule    string           // which rule decided, as an operator knows it; "default" if none allowed it
	Reason  string           // why not, fit for a client's eyes: no names, no addresses
	Type    tunnel.ErrorType // ErrorDenied for a target, ErrorDestinationProhibited for an address, ErrorNone if allowed
}

// ruleDefault stands for the lack of any rule that allows.
const ruleDefault = "default"

const (
	reasonTarget  = "this destination is not allowed here"
	reasonAddress = "this destination leads to an address that is not allowed here"
)

// WithAddrDefault is a copy in which rules stand for a nil AllowAddr.
func (p *Policy) WithDefaultAllowAddr(rules ...AddrRule) *Policy {
	c := &Policy{Allow: p.Allow, Deny: p.Deny, AllowAddr: p.AllowAddr, DenyAddr: p.DenyAddr, IsOwn: p.IsOwn}
	if c.AllowAddr == nil {
		c.AllowAddr, c.defaultAddr = rules, true
	}
	return c
}

// index makes look-ups of the lists, once.
func (p *Policy) index() {
	p.once.Do(func() {
		if p.isOwn = p.IsOwn; p.isOwn == nil {
			p.isOwn = p.own.Contains
		}
		allow, note := p.allowed()
		p.allow = indexPatterns(allow, defaultPorts, "allow ", note)
		p.deny = indexPatterns(p.Deny, allPorts, "deny ", "")
		rules, note := p.allowedAddrs()
		p.allowAt = indexAddrRules(rules, "allow-addr ", note)
		p.denyAt = indexAddrRules(p.DenyAddr, "deny-addr ", "")
	})
}

const noteDefault = " (default)"

// allowed is Allow with its default, and what to note behind its rules.
func (p *Policy) allowed() (list []Pattern, note string) {
	if p.Allow != nil {
		return p.Allow, ""
	}
	everywhere := Pattern{kind: patternAny, ports: defaultPorts}
	everywhere.text = everywhere.format()
	return []Pattern{everywhere}, noteDefault
}

// allowedAddrs is AllowAddr with its default, and what to note behind its rules.
func (p *Policy) allowedAddrs() (rules []AddrRule, note string) {
	switch {
	case p.AllowAddr == nil:
		return []AddrRule{{class: ClassPublic}}, noteDefault
	case p.defaultAddr:
		return p.AllowAddr, noteDefault
	}
	return p.AllowAddr, ""
}

// JudgeTarget judges what is asked for: a name, or a literal as it is written
// and as the IPv4 address embedded in it. Names are not resolved; where they
// and literals lead is JudgeAddr's to say.
func (p *Policy) JudgeTarget(a tunnel.Authority) Decision {
	p.index()
	if a.IsZero() {
		return denied(reasonTarget, ruleDefault)
	}
	if i, _ := p.deny.find(a.Host(), a.Addr(), a.Port()); i >= 0 {
		return p.deniedBy(i, a.Port())
	}
	for _, v4 := range embeddedIPv4(a.Addr()) {
		if i := p.deny.findAddr(v4, a.Port()); i >= 0 {
			return p.deniedBy(i, a.Port())
		}
	}
	// An IPv4-mapped literal is dialled as IPv4: it is that address, and no
	// IPv6 address that a CIDR could allow.
	i, hostKnown := p.allow.find(a.Host(), a.Addr().Unmap(), a.Port())
	switch {
	case i >= 0:
		return Decision{Allowed: true, Rule: p.allow.rules[i]}
	case hostKnown:
		return denied(reasonPort(a.Port()), ruleDefault)
	}
	return denied(reasonTarget, ruleDefault)
}

// deniedBy says that it is for the port if the pattern spares other ports.
func (p *Policy) deniedBy(i int, port uint16) Decision {
	if p.Deny[i].portsOr(allPorts).isAll() {
		return denied(reasonTarget, p.deny.rules[i])
	}
	return denied(reasonPort(port), p.deny.rules[i])
}

func denied(reason, rule string) Decision {
	return Decision{Rule: rule, Reason: reason, Type: tunnel.ErrorDenied}
}

func reasonPort(port uint16) string {
	return fmt.Sprintf("destination port %d is not allowed here", port)
}

// JudgeAddr judges an address where a target leads, after resolving or as a
// literal; the one judged must be the one dialled. A zone is ignored: it says
// which link, not which address. IPv4 embedded in it must pass on its own too.
func (p *Policy) JudgeAddr(a netip.AddrPort) Decision {
	p.index()
	addr := a.Addr().Unmap().WithZone("")
	if !addr.IsValid() || a.Port() == 0 {
		return prohibited(reasonAddress, ruleDefault)
	}
	d := p.judgeOne(addr, a.Port())
	for _, v4 := range embeddedIPv4(addr) {
		if !d.Allowed {
			break
		}
		if inner := p.judgeOne(v4, a.Port()); !inner.Allowed {
			d = inner
		}
	}
	return d
}

// judgeOne judges addr by itself, whatever is embedded in it.
func (p *Policy) judgeOne(addr netip.Addr, port uint16) Decision {
	class := Classify(addr, p.isOwn)
	if i, byClass := p.denyAt.find(addr, class, false); i >= 0 {
		if byClass {
			return prohibited(reasonClass(class), p.denyAt.rules[i])
		}
		return prohibited(reasonAddress, p.denyAt.rules[i])
	}
	if i := p.deny.findAddr(addr, port); i >= 0 {
		d := p.deniedBy(i, port)
		d.Type = tunnel.ErrorDestinationProhibited
		if d.Reason == reasonTarget {
			d.Reason = reasonAddress
		}
		return d
	}
	if i, _ := p.allowAt.find(addr, class, class == ClassMetadata); i >= 0 {
		return Decision{Allowed: true, Rule: p.allowAt.rules[i]}
	}
	return prohibited(reasonClass(class), ruleDefault)
}

func prohibited(reason, rule string) Decision {
	return Decision{Rule: rule, Reason: reason, Type: tunnel.ErrorDestinationProhibited}
}

func reasonClass(class AddrClass) string {
	return reasonAddress + " (" + class.String() + ")"
}

// Describe says in two short lines which targets may be asked for and to which
// addresses they may lead.
func (p *Policy) Describe() (targets, addresses string) {
	allow, _ := p.allowed()
	targets = summary(allow, func(a Pattern) string { return a.describe(defaultPorts) })
	if len(p.Deny) > 0 {
		targets += "; never " + summary(p.Deny, func(d Pattern) string { return d.describe(nil) })
	}
	rules, _ := p.allowedAddrs()
	addresses = summary(rules, AddrRule.String)
	if len(p.DenyAddr) > 0 {
		addresses += "; never " + summary(p.DenyAddr, AddrRule.String)
	}
	return targets, addresses
}

// describe is the pattern in words; ports applies if it names none.
func (p Pattern) describe(ports portSet) string {
	host := p.formatHost()
	if p.kind == patternAny {
		host = "any host"
	}
	switch ports = p.portsOr(ports); {
	case ports == nil:
		return host
	case ports.isAll():
		return host + " on any port"
	case len(ports) == 1 && ports[0].first == ports[0].last:
		return host + " on port " + ports.join("")
	}
	return host + " on ports " + ports.join(", ")
}

// summary joins the first few of a list, and counts the rest.
func summary[T any](list []T, text func(T) string) string {
	const most = 4
	var words []string
	for _, item := range list[:min(most, len(list))] {
		words = append(words, text(item))
	}
	switch {
	case len(list) == 0:
		return "nothing"
	case len(list) > most:
		words = append(words, fmt.Sprintf("and %d more", len(list)-most))
	}
	return strings.Join(words, ", ")
}
