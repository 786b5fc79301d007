package policy

import (
	"net/netip"
	"testing"
)

// The addresses from which clouds hand out credentials are reached by the name of the
// class or by the address itself, whatever ranges and classes around them are allowed.
func TestMetadataServicesAreAllowedOnlyByName(t *testing.T) {
	around := Policy{AllowAddr: []AddrRule{ClassRule(ClassPublic), ClassRule(ClassPrivate), ClassRule(ClassLinkLocal), ClassRule(ClassLoopback), ClassRule(ClassSpecial),
		parsedAddrRule(t, "0.0.0.0/0"), parsedAddrRule(t, "::/0")}}
	byClass := Policy{AllowAddr: []AddrRule{ClassRule(ClassMetadata)}}
	seen := make(map[netip.Addr]bool)
	for _, s := range metadataServices {
		if s.owner == "" || s.source == "" {
			t.Errorf("%v: whose it is, and where that is documented, is missing", s.addr)
		}
		if seen[s.addr] {
			t.Errorf("%v stands there twice", s.addr)
		}
		seen[s.addr] = true
		spellings := []netip.Addr{s.addr}
		if s.addr.Is4() {
			spellings = append(spellings, netip.AddrFrom16(s.addr.As16()))
		} else {
			spellings = append(spellings, s.addr.WithZone("eth0"))
		}
		byItself := Policy{AllowAddr: []AddrRule{parsedAddrRule(t, s.addr.String())}}
		for _, addr := range spellings {
			at := netip.AddrPortFrom(addr, 80)
			if d := around.JudgeAddr(at); d.Allowed || d.Reason != reasonClass(ClassMetadata) {
				t.Errorf("%v, with all around it allowed: %+v", addr, d)
			}
			if d := byClass.JudgeAddr(at); !d.Allowed {
				t.Errorf("%v, with metadata allowed: %+v", addr, d)
			}
			if d := byItself.JudgeAddr(at); !d.Allowed {
				t.Errorf("%v, allowed by itself: %+v", addr, d)
			}
		}
	}
}

// The table has more than the best known addresses.
func TestMetadataServicesOfContainersAndSmallClouds(t *testing.T) {
	for _, s := range []string{"169.254.170.2", "169.254.170.23", "fd00:ec2::23", "fd00:c1::a9fe:a9fe", "169.254.0.23", "169.254.42.42", "fd00:42::42", "192.0.0.192"} {
		if class := Classify(netip.MustParseAddr(s), nil); class != ClassMetadata {
			t.Errorf("%s is of the class %v", s, class)
		}
	}
}
