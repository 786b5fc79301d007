package pac

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"culvert/tunnel"
)

// names is a Resolver that knows the given names and counts the lookups.
type names struct {
	known map[string]string // addresses, joined by spaces
	asked []string
}

func (n *names) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	n.asked = append(n.asked, network+" "+host)
	var addrs []netip.Addr
	for text := range strings.FieldsSeq(n.known[host]) {
		if a := netip.MustParseAddr(text); network == "ip" || a.Is4() {
			addrs = append(addrs, a)
		}
	}
	if len(addrs) == 0 {
		return nil, errors.New("no such host")
	}
	return addrs, nil
}

func authority(t testing.TB, s string) tunnel.Authority {
	t.Helper()
	a, err := tunnel.ParseAuthority(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// evaluated returns the value of an expression in a script, or the error it threw.
func evaluated(t *testing.T, s Script, expression string) string {
	t.Helper()
	s.Text = fmt.Sprintf("function FindProxyForURL(url, host) { try { alert(JSON.stringify(%s)) } catch (e) { alert('threw ' + (e.message || e)) } return '' }", expression)
	answer, err := s.Find(context.Background(), authority(t, "host.example:443"))
	if err != nil || len(answer.Alerts) != 1 {
		t.Fatalf("%s: %v %q", expression, err, answer.Alerts)
	}
	return answer.Alerts[0]
}

// zone is two hours east of GMT.
var zone = time.FixedZone("EET", 2*3600)

// A Tuesday, still Monday in GMT.
func testScript() Script {
	known := map[string]string{"four.example": "192.0.2.7 192.0.2.8", "six.example": "2001:db8::7", "both.example": "2001:db8::8 198.51.100.8"}
	return Script{
		Resolver: &names{known: known},
		Now:      func() time.Time { return time.Date(2026, time.December, 1, 0, 30, 15, 0, zone) },
		Addresses: func() []netip.Addr {
			return []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("10.1.2.3")}
		},
	}
}

var helperCases = map[string]string{
	`isPlainHostName("www")`:                                    "true",
	`isPlainHostName("www.example.com")`:                        "false",
	`isPlainHostName("2001:db8::1")`:                            "false",
	`dnsDomainIs("www.example.com", ".example.com")`:            "true",
	`dnsDomainIs("www.example.com", "example.com")`:             "true",
	`dnsDomainIs("notexample.com", "example.com")`:              "true", // a suffix, no more
	`dnsDomainIs("www.example.com", ".EXAMPLE.com")`:            "false",
	`dnsDomainIs("com", ".example.com")`:                        "false",
	`localHostOrDomainIs("www.example.com", "www.example.com")`: "true",
	`localHostOrDomainIs("www", "www.example.com")`:             "true",
	`localHostOrDomainIs("www.example.org", "www.example.com")`: "false",
	`localHostOrDomainIs("ww", "www.example.com")`:              "false",
	`dnsDomainLevels("www")`:                                    "0",
	`dnsDomainLevels("www.example.com")`:                        "2",

	`isResolvable("four.example")`:    "true",
	`isResolvable("six.example")`:     "false",
	`isResolvable("none.example")`:    "false",
	`dnsResolve("four.example")`:      `"192.0.2.7"`,
	`dnsResolve("both.example")`:      `"198.51.100.8"`,
	`dnsResolve("six.example")`:       "null",
	`dnsResolve("192.0.2.9")`:         `"192.0.2.9"`,
	`dnsResolve("::1")`:               "null",
	`dnsResolve("0x7f.1")`:            "null",
	`dnsResolve("a b")`:               "null",
	`dnsResolve()`:                    "null",
	`myIpAddress()`:                   `"10.1.2.3"`,
	`convert_addr("1.2.3.4")`:         "16909060",
	`convert_addr("255.255.255.0")`:   "-256",
	`convert_addr("nonsense")`:        "0",
	`convert_addr("104.16.41.2")`:     "1745889538",
	`getClientVersion()`:              `"1.0"`,
	`shExpMatch("a", "b", "ignored")`: "false",

	`isInNet("192.0.2.7", "192.0.2.0", "255.255.255.0")`:       "true",
	`isInNet("192.0.3.7", "192.0.2.0", "255.255.255.0")`:       "false",
	`isInNet("four.example", "192.0.2.7", "255.255.255.255")`:  "true",
	`isInNet("none.example", "0.0.0.0", "0.0.0.0")`:            "false",
	`isInNet("192.0.2.7", "192.0.2.99", "255.255.0.255")`:      "false",
	`isInNet("192.0.2.7", "192.0.2.0", "255.255.255.256")`:     "false",
	`isInNet("192.0.2.7", "192.0.2.0", 24)`:                    "false",
	`isInNet("192.000.002.007", "192.0.2.0", "255.255.255.0")`: "true",
	`isInNet("::1", "0.0.0.0", "0.0.0.0")`:                     "false",

	`dnsResolveEx("both.example")`:                             `"2001:db8::8;198.51.100.8"`,
	`dnsResolveEx("none.example")`:                             `""`,
	`dnsResolveEx("2001:DB8::0:1")`:                            `"2001:db8::1"`,
	`isResolvableEx("six.example")`:                            "true",
	`isResolvableEx("none.example")`:                           "false",
	`myIpAddressEx()`:                                          `"2001:db8::1;10.1.2.3"`,
	`isInNetEx("192.0.2.7", "192.0.2.0/24")`:                   "true",
	`isInNetEx("2001:db8::7", "2001:db8::/32")`:                "true",
	`isInNetEx("2001:db8::7", "192.0.2.0/24")`:                 "false",
	`isInNetEx("four.example", "192.0.2.0/24")`:                "false",
	`isInNetEx("192.0.2.7", "192.0.2.0/33")`:                   "false",
	`isInNetEx("192.0.2.7", "192.0.2.0")`:                      "false",
	`sortIpAddressList("10.2.3.9; 2001:db8::9;::1 ;10.2.3.8")`: `"::1;2001:db8::9;10.2.3.8;10.2.3.9"`,
	`sortIpAddressList("10.2.3.9;nonsense")`:                   "false",
	`sortIpAddressList("")`:                                    "false",

	`shExpMatch("www.example.com", "*.example.com")`:          "true",
	`shExpMatch("example.com", "*.example.com")`:              "false",
	`shExpMatch("wwwxexample.com", "www.example.com")`:        "false",
	`shExpMatch("https://a.example/", "https://?.example/*")`: "true",
	`shExpMatch("a.example", "A.example")`:                    "false",
	`shExpMatch("a.example.org", "a.example")`:                "false",
	`shExpMatch("b.example", "(a|b).example")`:                "true",
	`shExpMatch("10.1.2.3", "10.[0-9].*")`:                    "true",
	`shExpMatch("$1$&", "$1$&")`:                              "false", // $ is RegExp's
}

func TestHelpers(t *testing.T) {
	for expression, want := range helperCases {
		if got := evaluated(t, testScript(), expression); got != want {
			t.Errorf("%s = %s, want %s", expression, got, want)
		}
	}
	if got := evaluated(t, testScript(), `shExpMatch("a", "(")`); !strings.HasPrefix(got, "threw ") {
		t.Errorf("a bad pattern gives %s", got)
	}
}

func TestTimeHelpers(t *testing.T) { // Tuesday 2026-12-01 00:30:15, in GMT Monday 2026-11-30 22:30:15
	for expression, want := range map[string]string{
		`weekdayRange("TUE")`:               "true",
		`weekdayRange("TUE", "GMT")`:        "false",
		`weekdayRange("MON", "GMT")`:        "true",
		`weekdayRange("MON", "FRI")`:        "true",
		`weekdayRange("FRI", "TUE")`:        "true",
		`weekdayRange("WED", "MON")`:        "false",
		`weekdayRange("WED", "TUE", "GMT")`: "true",
		`weekdayRange("tue")`:               "false",
		`weekdayRange()`:                    "false",

		`dateRange(1)`:                                      "true",
		`dateRange(1, "GMT")`:                               "false",
		`dateRange(30, "GMT")`:                              "true",
		`dateRange("1")`:                                    "true",
		`dateRange(1, 15)`:                                  "true",
		`dateRange(2, 15)`:                                  "false",
		`dateRange(25, 5)`:                                  "true",
		`dateRange("DEC")`:                                  "true",
		`dateRange("dec")`:                                  "false",
		`dateRange("NOV", "GMT")`:                           "true",
		`dateRange("NOV", "FEB")`:                           "true",
		`dateRange("JAN", "NOV")`:                           "false",
		`dateRange(2026)`:                                   "true",
		`dateRange(2025, 2027)`:                             "true",
		`dateRange(2027, 2025)`:                             "false",
		`dateRange(1, "DEC", 24, "DEC")`:                    "true",
		`dateRange(24, "NOV", 6, "JAN")`:                    "true",
		`dateRange(2, "DEC", 30, "NOV")`:                    "false",
		`dateRange("JUN", 2026, "JAN", 2027)`:               "true",
		`dateRange("JUN", 2027, "JAN", 2026)`:               "false",
		`dateRange(1, "DEC", 2026, 1, "DEC", 2026)`:         "true",
		`dateRange(2, "DEC", 2026, 1, "DEC", 2027)`:         "false",
		`dateRange(1, "DEC", 2025, 30, "NOV", 2026, "GMT")`: "true",
		`dateRange(1, "DEC")`:                               "true",
		`dateRange(1, "DEC", 2026)`:                         "true",
		`dateRange(1, "DEC", 2025)`:                         "false",
		`dateRange(1, "JAN", "DEC")`:                        "false",
		`dateRange(0)`:                                      "false",
		`dateRange()`:                                       "false",

		`timeRange(0)`:                          "true",
		`timeRange("0")`:                        "true",
		`timeRange(22, "GMT")`:                  "true",
		`timeRange(0, 1)`:                       "true",
		`timeRange(22, 6)`:                      "false",
		`timeRange(9, 22, "GMT")`:               "true",
		`timeRange(0, 0, 0, 30)`:                "true",
		`timeRange(0, 31, 8, 0)`:                "false",
		`timeRange(22, 0, 6, 0)`:                "true",
		`timeRange(0, 30, 0, 0, 30, 14)`:        "false",
		`timeRange(0, 30, 15, 0, 30, 15)`:       "true",
		`timeRange(22, 30, 16, 0, 0, 0, "GMT")`: "false",
		`timeRange()`:                           "false",
		`timeRange("noon")`:                     "false",
		`timeRange(1, 2, 3)`:                    "threw timeRange: bad number of arguments",
	} {
		if got := evaluated(t, testScript(), expression); got != want && got != strings.Trim(want, `"`) {
			t.Errorf("%s = %s, want %s", expression, got, want)
		}
	}
}
