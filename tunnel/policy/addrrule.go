package policy

import (
	"net/netip"
	"strings"
)

// AddrRule is one entry of a Policy's AllowAddr or DenyAddr: a class of addresses,
// one address, or a CIDR. The zero AddrRule matches nothing.
type AddrRule struct {
	class  AddrClass
	prefix netip.Prefix // valid unless the rule is a class
}

// ClassRule returns the rule that matches every address of a class.
func ClassRule(class AddrClass) AddrRule { return AddrRule{class: class} }

// ParseAddrRule parses the name of a class, an address or a CIDR, with IPv6 not in
// brackets.
func ParseAddrRule(s string) (AddrRule, error) {
	if !strings.ContainsAny(s, ".:/") {
		class, err := parseAddrClass(s)
		return AddrRule{class: class}, err
	}
	prefix, err := ParseNetwork(s)
	return AddrRule{prefix: prefix}, err
}

// String returns the rule as ParseAddrRule takes it.
func (r AddrRule) String() string {
	if r.prefix.IsValid() {
		return formatPrefix(r.prefix)
	}
	return r.class.String()
}
