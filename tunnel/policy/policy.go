// Package policy decides where the clients of a proxy may go. A Policy judges the
// target that a client asks for and every address to which that target leads; a
// Decision says which rule decided and why. Targets are matched by Patterns,
// addresses by AddrRules.
//
// The package resolves nothing and opens no connection, and knows neither clients
// nor HTTP. It imports nothing of this module but package tunnel.
package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"

	"culvert/tunnel"
)

// Policy decides where clients may go, in two layers: JudgeTarget judges the target
// that was asked for, JudgeAddr every address to which it leads. In both layers a
// deny rule wins over an allow rule, and what no rule allows is denied. The zero
// Policy allows every public address on ports 22, 80 and 443.
//
// A Policy must not be changed or copied after its first method call. Its methods
// are safe for concurrent use.
type Policy struct {
	// Allow and Deny judge the target. A pattern without ports means ports 22, 80
	// and 443 in Allow, and every port in Deny. A nil Allow is *:22,80,443; an
	// empty Allow that is not nil allows nothing. A Deny by address or CIDR judges
	// literals and, in the second layer, every address.
	Allow, Deny []Pattern

	// AllowAddr and DenyAddr judge addresses. A nil AllowAddr is the class
	// public; an empty AllowAddr that is not nil allows nothing. Addresses of the
	// class metadata are allowed only by the name of the class or by the exact
	// address, never by a CIDR that contains them.
	AllowAddr, DenyAddr []AddrRule

	// IsOwn reports whether an address is one of this host's, which makes its
	// class loopback; nil = the addresses of the system's interfaces are. It must
	// be safe for concurrent use.
	IsOwn func(netip.Addr) bool

	// LeadsHere reports whether the system would deliver a connection to an address
	// to this host itself, which makes the address's class loopback whatever IsOwn
	// says; nil = IsOwn alone decides. As it costs more, it is asked only about
	// addresses that are allowed and would not be if they were loopback. It must be
	// safe for concurrent use.
	LeadsHere func(netip.AddrPort) bool

	once            sync.Once
	own             HostAddrs
	isOwn           func(netip.Addr) bool
	defaultAddr     bool // AllowAddr is a default that the operator did not write
	allow, deny     patternIndex
	allowAt, denyAt addrIndex
}

// Decision is the judgement of a Policy on one target or address.
type Decision struct {
	Allowed bool
	Rule    string           // the rule that decided, as the operator wrote it; "default" if no rule allowed it
	Reason  string           // why it was denied, fit for the client to see: no names, no addresses
	Hint    string           // for the operator: the flag of culvert serve that would allow it; "" if a rule denies it
	Type    tunnel.ErrorType // ErrorDenied for a target, ErrorDestinationProhibited for an address, ErrorNone if allowed
}

// ruleDefault is the Rule of a Decision if no rule allowed the target or address.
const ruleDefault = "default"

const (
	reasonTarget  = "this destination is not allowed here"
	reasonAddress = "this destination leads to an address that is not allowed here"
)

// WithDefaultAllowAddr returns a copy of p that uses rules if AllowAddr is nil.
func (p *Policy) WithDefaultAllowAddr(rules ...AddrRule) *Policy {
	c := &Policy{Allow: p.Allow, Deny: p.Deny, AllowAddr: p.AllowAddr, DenyAddr: p.DenyAddr, IsOwn: p.IsOwn, LeadsHere: p.LeadsHere}
	if c.AllowAddr == nil {
		c.AllowAddr, c.defaultAddr = rules, true
	}
	return c
}

// index builds the indexes of the four lists, once.
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

// allowed returns Allow or its default, and the note to put behind its rules.
func (p *Policy) allowed() (list []Pattern, note string) {
	if p.Allow != nil {
		return p.Allow, ""
	}
	everywhere := Pattern{kind: patternAny, ports: defaultPorts}
	everywhere.text = everywhere.format()
	return []Pattern{everywhere}, noteDefault
}

// allowedAddrs returns AllowAddr or its default, and the note to put behind its
// rules.
func (p *Policy) allowedAddrs() (rules []AddrRule, note string) {
	switch {
	case p.AllowAddr == nil:
		return []AddrRule{{class: ClassPublic}}, noteDefault
	case p.defaultAddr:
		return p.AllowAddr, noteDefault
	}
	return p.AllowAddr, ""
}

// JudgeTarget judges the target that a client asks for. A name is judged by itself
// and not resolved. A literal is judged as it is written, and by Deny also as the
// IPv4 address embedded in it. Whether the addresses to which the target leads are
// allowed is for JudgeAddr to decide.
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
	// An IPv4-mapped literal is dialled as IPv4, so only a pattern for its IPv4
	// address can allow it.
	i, hostKnown := p.allow.find(a.Host(), a.Addr().Unmap(), a.Port())
	switch {
	case i >= 0:
		return Decision{Allowed: true, Rule: p.allow.rules[i]}
	case hostKnown:
		d := denied(reasonPort(a.Port()), ruleDefault)
		d.Hint = p.hintAllow(a)
		return d
	}
	d := denied(reasonTarget, ruleDefault)
	d.Hint = p.hintAllow(a)
	return d
}

// hintAllow returns the flag that would allow a target which no rule allows. The first
// --allow replaces the default, which the flag therefore repeats.
func (p *Policy) hintAllow(a tunnel.Authority) string {
	if p.Allow == nil {
		return fmt.Sprintf("--allow '*:%s,%d' would allow it", defaultPorts.join(","), a.Port())
	}
	pattern := a.String()
	if addr := a.Addr(); addr.Is4In6() { // which no pattern but that of the IPv4 address allows
		pattern = netip.AddrPortFrom(addr.Unmap(), a.Port()).String()
	}
	return fmt.Sprintf("--allow '%s' would allow it", pattern)
}

// JudgeCompleted judges the full name that a search list makes of a target's short one,
// which JudgeTarget has allowed. A Deny that matches the full name denies it. No Allow
// has to match: the operator who allowed the short name meant what it stands for.
func (p *Policy) JudgeCompleted(full tunnel.Authority) Decision {
	p.index()
	if i, _ := p.deny.find(full.Host(), full.Addr(), full.Port()); i >= 0 {
		return p.deniedBy(i, full.Port())
	}
	return Decision{Allowed: true}
}

// deniedBy returns the Decision for a target that p.Deny[i] matches. Its reason is
// the port if the pattern does not deny every port.
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

// JudgeAddr judges an address to which a target leads: one that its name was
// resolved to, or the literal itself. The caller must dial the address it has had
// judged. A zone is ignored, as it names a link and no other address. IPv4 embedded
// in the address must be allowed by itself too.
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

// judgeOne judges addr without regard to IPv4 embedded in it.
func (p *Policy) judgeOne(addr netip.Addr, port uint16) Decision {
	class := Classify(addr, p.isOwn)
	d := p.judgeAs(class, addr, port)
	if d.Allowed && p.LeadsHere != nil && class != ClassLoopback && class != ClassMetadata {
		if here := p.judgeAs(ClassLoopback, addr, port); !here.Allowed && p.LeadsHere(netip.AddrPortFrom(addr, port)) {
			return here
		}
	}
	return d
}

// JudgeHere judges an address that is known to lead to this host, as one of the class
// loopback. One of the class metadata stays that: some clouds serve it on the host.
func (p *Policy) JudgeHere(a netip.AddrPort) Decision {
	p.index()
	addr := a.Addr().Unmap().WithZone("")
	if isMetadata(addr) {
		return p.judgeAs(ClassMetadata, addr, a.Port())
	}
	return p.judgeAs(ClassLoopback, addr, a.Port())
}

// judgeAs judges addr as an address of that class.
func (p *Policy) judgeAs(class AddrClass, addr netip.Addr, port uint16) Decision {
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
	d := prohibited(reasonClass(class), ruleDefault)
	if class == ClassPrivate {
		d.Hint = p.hintAllowAddr(class)
	}
	return d
}

// hintAllowAddr returns the flags that would allow a class of addresses which no rule
// allows. The first --allow-addr replaces the default, which they therefore repeat. Other
// classes than private lead to the proxy's own machine or to what nobody should reach
// through it, so no hint advises to allow them.
func (p *Policy) hintAllowAddr(class AddrClass) string {
	hint := ""
	if rules, note := p.allowedAddrs(); note != "" {
		for _, r := range rules {
			hint += "--allow-addr " + r.String() + " "
		}
	}
	return hint + "--allow-addr " + class.String() + " would allow it"
}

func prohibited(reason, rule string) Decision {
	return Decision{Rule: rule, Reason: reason, Type: tunnel.ErrorDestinationProhibited}
}

func reasonClass(class AddrClass) string {
	return reasonAddress + " (" + class.String() + ")"
}

// Describe returns two short lines for the operator: the targets that clients may
// ask for, and the addresses to which those may lead.
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

// describe returns the pattern in words; ports applies if it names none.
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

// summary joins the first four items of a list and counts the rest.
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
