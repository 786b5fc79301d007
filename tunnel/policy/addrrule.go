package policy

import (
	"net/netip"
	"strings"
)

// AddrRule is a class of address, or an address or CIDR: one entry of a
// policy's AllowAddr or DenyAddr. The zero AddrRule matches nothing.
type AddrRule struct {
	class  AddrClass
	prefix netip.Prefix // valid if the rule is no class
}

// ClassRule returns the rule that a class is.
func ClassRule(class AddrClass) AddrRule { return AddrRule{class: class} }

// ParseAddrRule parses the name of a class, an address or a CIDR; IPv6 stands
// without brackets.
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
