package policy

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestClassify(t *testing.T) {
	for class, addrs := range map[AddrClass][]string{
		ClassMetadata: {"169.254.169.254", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "::ffff:169.254.169.254"},
		ClassLoopback: {"127.0.0.1", "127.255.255.255", "0.0.0.0", "0.1.2.3", "::1", "::", "::ffff:127.0.0.1", "::ffff:0.0.0.0",
			"198.41.0.4", "2001:500::1"}, // the last two are this host's own, see below
		ClassLinkLocal: {"169.254.0.1", "169.254.169.253", "169.254.255.255", "fe80::1", "fe80::1%eth0", "febf::1", "::ffff:169.254.1.1"},
		ClassPrivate: {"10.0.0.0", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.0", "100.127.255.255",
			"fc00::1", "fd12:3456::1", "fdff::1", "fd00:ec2::253", "::ffff:192.168.0.1"},
		ClassSpecial: {
			"192.0.0.0", "192.0.0.1", "192.0.0.8", "192.0.0.9", "192.0.0.10", "192.0.0.170", "192.0.0.171", "192.0.0.255",
			"192.0.2.1", "192.31.196.1", "192.52.193.1", "192.88.99.1", "192.88.99.2", "192.175.48.1",
			"198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1",
			"224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.254", "255.255.255.255", "::ffff:224.0.0.1",
			"::2", "::8.8.8.8", "64:ff9b:1::1", "64:ff9b:1:ffff::", "100::1", "100:0:0:1::1",
			"2001::1", "2001:1::1", "2001:1::2", "2001:1::3", "2001:1::4", "2001:2::1", "2001:3::1", "2001:4:112::1",
			"2001:10::1", "2001:20::1", "2001:30::1", "2001:1ff:ffff::1",
			"2001:db8::1", "2002::1", "2002:808:808::1", "2620:4f:8000::1", "3fff::1", "3fff:fff::1", "5f00::1", "fec0::1", "ff02::1", "ff0e::1",
			// Outside the range of global unicast, and in no registry.
			"::ffff:0:808:808", "64:ff9b:2::1", "200::1", "1fff::1", "4000::1", "e000::1", "fe00::1", "100:0:0:2::1",
		},
		ClassPublic: {"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "126.255.255.255", "128.0.0.0", "100.63.255.255", "100.128.0.0",
			"168.63.129.15", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.0.3.0", "192.167.255.255",
			"192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255", "::ffff:8.8.8.8",
			"2001:200::1", "2001:4860:4860::8888", "2606:4700::1111", "2003::1", "2620:4f:8001::1", "3ffe::1", "64:ff9b::8.8.8.8", "64:ff9b::10.0.0.1"},
	} {
		own := func(a netip.Addr) bool {
			return a == netip.MustParseAddr("198.41.0.4") || a == netip.MustParseAddr("2001:500::1") || a == netip.MustParseAddr("169.254.169.254")
		}
		for _, s := range addrs {
			if got := Classify(netip.MustParseAddr(s), own); got != class {
				t.Errorf("classify(%s) = %v, want %v", s, got, class)
			}
		}
	}
}

// The first and the last address of every entry have the class of the entry's table,
// unless an earlier class contains them.
func TestClassifyTables(t *testing.T) {
	for class, table := range map[AddrClass][]netip.Prefix{
		ClassLoopback: loopbackPrefixes, ClassLinkLocal: linkLocalPrefixes, ClassPrivate: privatePrefixes, ClassSpecial: specialPrefixes,
	} {
		for _, p := range table {
			if p != p.Masked() {
				t.Errorf("%v has host bits", p)
			}
			last := p.Addr().AsSlice()
			for bit := p.Bits(); bit < len(last)*8; bit++ {
				last[bit/8] |= 0x80 >> (bit % 8)
			}
			end, _ := netip.AddrFromSlice(last)
			for _, addr := range []netip.Addr{p.Addr(), end} {
				if got := Classify(addr, nil); got != class && (got > class || p != compatiblePrefix) {
					t.Errorf("classify(%v), of %v, = %v, want %v", addr, p, got, class)
				}
			}
		}
	}
}

func TestEmbeddedIPv4(t *testing.T) {
	for in, want := range map[string][]string{
		"192.0.2.1":                            nil,
		"2001:db8::10.0.0.1":                   nil,
		"::":                                   nil,
		"::1":                                  nil,
		"::ffff:10.0.0.1":                      {"10.0.0.1"},
		"::ffff:0.0.0.0":                       {"0.0.0.0"},
		"::10.0.0.1":                           {"10.0.0.1"},
		"::2":                                  {"0.0.0.2"},
		"64:ff9b::10.0.0.1":                    {"10.0.0.1"},
		"64:ff9b::10.0.0.1%eth0":               {"10.0.0.1"},
		"64:ff9b:1:a00:0:100::":                {"10.0.0.1"},
		"64:ff9b:1:c0a8:1:200::":               {"192.168.1.2"},
		"64:ff9b:1::10.0.0.1":                  {"10.0.0.1"},
		"64:ff9b:1::":                          {"0.0.0.0"},
		"64:ff9b:1:808:8:800:a00:1":            {"8.8.8.8", "10.0.0.1"},
		"64:ff9b:2::10.0.0.1":                  nil,
		"2002:a00:1::1":                        {"10.0.0.1"},
		"2002:7f00:1::":                        {"127.0.0.1"},
		"2001:0:4136:e378:8000:63bf:f5ff:fffe": {"10.0.0.1"},
		"2001:1:4136:e378:8000:63bf:f5ff:fffe": nil,
	} {
		var got []string
		for _, a := range embeddedIPv4(netip.MustParseAddr(in)) {
			got = append(got, a.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("embeddedIPv4(%s) = %v, want %v", in, got, want)
		}
	}
	if got := embeddedIPv4(netip.Addr{}); got != nil {
		t.Errorf("embeddedIPv4 of no address = %v", got)
	}
}

func TestAddrClassText(t *testing.T) {
	for class := ClassMetadata; class <= ClassPublic; class++ {
		if got, err := parseAddrClass(class.String()); err != nil || got != class {
			t.Errorf("parseAddrClass(%q) = %v, %v", class, got, err)
		}
	}
	if got, err := parseAddrClass("Link-Local"); err != nil || got != ClassLinkLocal {
		t.Errorf("parseAddrClass(Link-Local) = %v, %v", got, err)
	}
	for _, s := range []string{"", "local", "linklocal", "*", "any"} {
		if got, err := parseAddrClass(s); err == nil {
			t.Errorf("parseAddrClass(%q) = %v, want an error", s, got)
		}
	}
}

func TestInterfaceAddrsAreReadAtMostEveryFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := 0
		c := HostAddrs{list: func() ([]net.Addr, error) {
			reads++
			return []net.Addr{&net.IPNet{IP: net.IPv4(192, 0, 2, byte(reads)), Mask: net.CIDRMask(24, 32)}}, nil
		}}
		first, second := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		for range 3 {
			if !c.Contains(first) || c.Contains(second) {
				t.Fatal("the first list is not in force")
			}
		}
		time.Sleep(interfaceAddrsAge - 1)
		if !c.Contains(first) || reads != 1 {
			t.Errorf("%d reads within %v", reads, interfaceAddrsAge)
		}
		time.Sleep(1 * time.Nanosecond)
		if c.Contains(first) || !c.Contains(second) || reads != 2 {
			t.Errorf("%d reads after %v", reads, interfaceAddrsAge)
		}
	})
}

func TestInterfaceAddrsOutliveAFailedRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := netip.MustParseAddr("192.0.2.1")
		fail := false
		c := HostAddrs{list: func() ([]net.Addr, error) {
			if fail {
				return nil, errors.New("no netlink here")
			}
			return []net.Addr{&net.IPNet{IP: own.AsSlice(), Mask: net.CIDRMask(24, 32)}}, nil
		}}
		if !c.Contains(own) {
			t.Fatal("not own at first")
		}
		fail = true
		time.Sleep(interfaceAddrsAge)
		if !c.Contains(own) {
			t.Error("not own any more")
		}
	})
}

// A goroutine that waited while another read the interfaces must not read again.
func TestInterfaceAddrsAreReadOnceForAllThatWait(t *testing.T) {
	var reads atomic.Int32
	c := HostAddrs{list: func() ([]net.Addr, error) {
		reads.Add(1)
		return nil, nil
	}}
	synctest.Test(t, func(t *testing.T) { // in which no time passes
		for range 50 {
			go c.read()
		}
		synctest.Wait()
	})
	if n := reads.Load(); n != 1 {
		t.Errorf("%d reads", n)
	}
}
