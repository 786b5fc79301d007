package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"culvert/tunnel/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m, nil) }

// routed is a Resolver on a machine with IPv6.
var routed = &Resolver{PrefersIPv6: func(addr netip.Addr) bool { return !unrouted.Contains(addr) }}

// unrouted is IPv6 to which there is no way.
var unrouted = netip.MustParsePrefix("2001:db8:bad::/48")

const never = 1000 * time.Hour

// reply is a source's reply for one IP version: what, after a delay.
type reply struct {
	after time.Duration
	what  string // addresses, or nxdomain, nodata, other (an address of the other version only), servfail, timeout
}

// replies is a Source for one name.
type replies map[string]reply

func (r replies) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	timer := time.NewTimer(r[network].after)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	switch what := r[network].what; what {
	case "nxdomain":
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	case "nodata":
		return nil, &net.DNSError{UnwrapErr: ErrNoAddress, Name: host, IsNotFound: true}
	case "other":
		return nil, &net.AddrError{Err: "no suitable address found", Addr: host}
	case "servfail":
		return nil, &net.DNSError{Err: "server misbehaving", Name: host, IsTemporary: true}
	case "timeout":
		return nil, &net.DNSError{Err: "i/o timeout", Name: host, IsTimeout: true}
	default:
		var addrs []netip.Addr
		for _, s := range strings.Fields(what) {
			addrs = append(addrs, netip.MustParseAddr(s))
		}
		return addrs, nil
	}
}

// describe returns an error in one word.
func describe(err error) string {
	var dns *net.DNSError
	switch {
	case IsAbsent(err):
		return "nxdomain"
	case errors.Is(err, ErrNoAddress):
		return "nodata"
	case errors.As(err, &dns) && dns.IsTimeout:
		return "timeout"
	case errors.As(err, &dns) && dns.IsTemporary:
		return "servfail"
	}
	return fmt.Sprint(err)
}

// RFC 8305, section 3: the answer of one IP version does not wait for the other longer
// than it is worth.
func TestApart(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name     string
		ip4, ip6 reply
		want     string
		took     time.Duration
		late     string // which answer is still to come
	}{
		{"both soon", reply{0, "192.0.2.1 192.0.2.2"}, reply{ms, "2001:db8::1"}, "[2001:db8::1 192.0.2.1 192.0.2.2]", ms, ""},
		{"no way to IPv6", reply{0, "192.0.2.1"}, reply{0, "2001:db8:bad::1"}, "[192.0.2.1 2001:db8:bad::1]", 0, ""},
		{"IPv6 is first", reply{never, ""}, reply{ms, "2001:db8::1"}, "[2001:db8::1]", ms, "IPv4"},
		{"IPv4 is first", reply{ms, "192.0.2.1"}, reply{40 * ms, "2001:db8::1"}, "[2001:db8::1 192.0.2.1]", 40 * ms, ""},
		{"AAAA is mute", reply{ms, "192.0.2.1"}, reply{never, ""}, "[192.0.2.1]", 51 * ms, "IPv6"},
		{"A is mute, and there is no way to IPv6", reply{never, ""}, reply{ms, "2001:db8:bad::1"}, "[2001:db8:bad::1]", 51 * ms, "IPv4"},
		{"no AAAA", reply{20 * ms, "192.0.2.1"}, reply{0, "nodata"}, "[192.0.2.1]", 20 * ms, ""},
		{"no A", reply{0, "nodata"}, reply{300 * ms, "2001:db8::1"}, "[2001:db8::1]", 300 * ms, ""},
		{"no AAAA in the hosts file", reply{0, "192.0.2.1"}, reply{0, "other"}, "[192.0.2.1]", 0, ""},
		{"AAAA fails", reply{300 * ms, "192.0.2.1"}, reply{0, "servfail"}, "[192.0.2.1]", 300 * ms, ""},
		{"A fails", reply{0, "servfail"}, reply{3000 * ms, "2001:db8::1"}, "[2001:db8::1]", 3000 * ms, ""},
		{"AAAA is NXDOMAIN, wrongly", reply{1500 * ms, "192.0.2.1"}, reply{0, "nxdomain"}, "[192.0.2.1]", 1500 * ms, ""},
		{"AAAA is NXDOMAIN, A mute", reply{never, ""}, reply{0, "nxdomain"}, "nxdomain", 2000 * ms, ""},
		{"A is NXDOMAIN, AAAA mute", reply{0, "nxdomain"}, reply{never, ""}, "nxdomain", 50 * ms, ""},
		{"both are NXDOMAIN", reply{0, "nxdomain"}, reply{0, "nxdomain"}, "nxdomain", 0, ""},
		{"neither has an address", reply{0, "nodata"}, reply{0, "nodata"}, "nodata", 0, ""},
		{"A has no address, AAAA is NXDOMAIN", reply{0, "nodata"}, reply{0, "nxdomain"}, "nodata", 0, ""},
		{"A fails, AAAA is NXDOMAIN", reply{0, "servfail"}, reply{0, "nxdomain"}, "servfail", 0, ""},
		{"A has no address, AAAA fails", reply{0, "nodata"}, reply{0, "timeout"}, "timeout", 0, ""},
		{"A has no address, AAAA mute", reply{0, "nodata"}, reply{never, ""}, "timeout", 10000 * ms, ""},
		{"both are mute", reply{never, ""}, reply{never, ""}, "timeout", 10000 * ms, ""},
		{"nothing at all", reply{0, ""}, reply{0, ""}, "nodata", 0, ""},
		{"IPv4 in IPv6 is IPv4", reply{0, "::ffff:192.0.2.1 2001:db8::1 192.0.2.1"}, reply{0, "::ffff:192.0.2.1"}, "[192.0.2.1]", 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				defer cancel()
				start := time.Now()
				f, err := routed.apart(ctx, replies{"ip4": tt.ip4, "ip6": tt.ip6}, "ip", "a.test.")
				got, late := "", ""
				if err != nil {
					got = describe(err)
				} else {
					defer f.Close()
					got = fmt.Sprint(f.Addrs)
					if f.Late != nil {
						late = map[bool]string{true: "IPv4", false: "IPv6"}[f.LateIPv4]
					}
				}
				if took := time.Since(start); got != tt.want || took != tt.took || late != tt.late {
					t.Errorf("%s after %v, late %q; want %s after %v, late %q", got, took, late, tt.want, tt.took, tt.late)
				}
			})
		})
	}
}

// One IP version alone is asked for alone.
func TestApartOfOneVersion(t *testing.T) {
	t.Parallel()
	source := replies{"ip4": {0, "192.0.2.1"}, "ip6": {0, "2001:db8::1"}}
	for network, want := range map[string]string{"ip4": "[192.0.2.1]", "ip6": "[2001:db8::1]"} {
		f, err := routed.apart(context.Background(), source, network, "a.test.")
		if err != nil || fmt.Sprint(f.Addrs) != want || f.Late != nil {
			t.Errorf("%s: %+v, %v", network, f, err)
		}
	}
}

// A look-up that goes on after Find has returned ends when it is closed, and gives its
// answer until then.
func TestLateAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := replies{"ip4": {0, "192.0.2.1"}, "ip6": {time.Second, "2001:db8::1"}}
		f, err := routed.apart(context.Background(), source, "ip", "a.test.")
		if err != nil {
			t.Fatal(err)
		}
		if a := <-f.Late; a.Err != nil || fmt.Sprint(a.Addrs) != "[2001:db8::1]" {
			t.Errorf("late: %+v", a)
		}
		f.Close()
		f, err = routed.apart(context.Background(), source, "ip", "a.test.")
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		if a := <-f.Late; !errors.Is(a.Err, context.Canceled) {
			t.Errorf("late, after Close: %+v", a)
		}
	})
}

// zone is a Source that knows some names, and notes which were asked for.
type zone struct {
	known map[string]string // as replies has them
	asked []string
}

func (z *zone) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	z.asked = append(z.asked, host)
	what, ok := z.known[strings.TrimSuffix(host, ".")]
	if !ok {
		what = "nxdomain"
	}
	return replies{network: {0, what}}.LookupNetIP(context.Background(), network, host)
}

// Each name that the search list makes is judged before it is asked for.
func TestFindJudgesTheSearchList(t *testing.T) {
	t.Parallel()
	denied := errors.New("denied")
	for _, tt := range []struct {
		name, known string
		want, full  string
		asked       string
	}{
		{"web", "web.lab.test=192.0.2.1", "[192.0.2.1]", "web.lab.test", "web.lab.test."},
		{"web", "web.lab.test=192.0.2.1 web.corp.test=192.0.2.2", "[192.0.2.1]", "web.lab.test", "web.lab.test."},
		{"web", "web.deny.test=192.0.2.1", "denied", "", "web.lab.test."}, // and web.corp.test, behind it, is not asked for
		{"web", "web.lab.test=timeout web.corp.test=192.0.2.1", "timeout", "", "web.lab.test."},
		{"web", "web.lab.test=servfail web.deny.test=192.0.2.1", "denied", "", "web.lab.test."},
		{"web.lab", "web.lab=192.0.2.1 web.lab.lab.test=192.0.2.2", "[192.0.2.1]", "", "web.lab."},
		{"web.lab", "web.lab.lab.test=192.0.2.2", "nxdomain", "", "web.lab."},
	} {
		z := &zone{known: map[string]string{}}
		for _, entry := range strings.Fields(tt.known) {
			name, what, _ := strings.Cut(entry, "=")
			z.known[name] = what
		}
		r := Resolver{Source: z, Search: func(name string) []string {
			return []string{name + ".lab.test", name + ".deny.test", name + ".corp.test", name}
		}}
		f, err := r.Find(context.Background(), "ip4", tt.name, func(full string) error {
			if strings.HasSuffix(full, ".deny.test") {
				return denied
			}
			return nil
		})
		got, full := "", ""
		if err != nil {
			got = describe(err)
		} else {
			got, full = fmt.Sprint(f.Addrs), f.Name
			f.Close()
		}
		if asked := strings.Join(z.asked, " "); got != tt.want || full != tt.full || asked != tt.asked {
			t.Errorf("%s of %s: %s as %q, asked for %s; want %s as %q, asked for %s", tt.name, tt.known, got, full, asked, tt.want, tt.full, tt.asked)
		}
	}
}

// A name that is nowhere in the search list is looked up as it stands, at the end or at
// the beginning.
func TestFindGoesThroughTheSearchList(t *testing.T) {
	t.Parallel()
	z := &zone{known: map[string]string{"web.b.test": "servfail"}}
	r := Resolver{Source: z, Search: func(name string) []string { return []string{name + ".a.test", name + ".b.test", name} }}
	if _, err := r.Find(context.Background(), "ip4", "web", nil); describe(err) != "servfail" {
		t.Errorf("the failure behind which the name may be is not told: %v", err)
	}
	if want := []string{"web.a.test.", "web.b.test.", "web."}; !slices.Equal(z.asked, want) {
		t.Errorf("asked for %q, want %q", z.asked, want)
	}
}
