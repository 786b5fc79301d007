package pac

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"culvert/tunnel/internal/testkit"
)

// Whatever arguments a script gives to a helper, none panics, and what it returns is of a
// type that JavaScript has.
func FuzzHelpers(f *testing.F) {
	for _, args := range []string{"", "MON|FRI|GMT", "1|JAN|2026|3|FEB|2027", "8|30|0|17|0|59|GMT", "10.0.0.1|10.0.0.0|255.0.0.0", "fe80::1%eth0|fe80::/10", "a.test|.test", "10.0.0.1;::1;x", "JAN", "-1|99999999999999999999"} {
		f.Add(args)
	}
	f.Fuzz(func(t *testing.T, text string) {
		args := strings.Split(text, "|")
		s := &Script{
			Now:       func() time.Time { return time.Date(2026, 2, 28, 23, 59, 59, 0, time.UTC) },
			Addresses: func() []netip.Addr { return []netip.Addr{netip.MustParseAddr("192.0.2.1")} },
			Resolver: testkit.FakeResolver(func(_ context.Context, host string) ([]netip.Addr, error) {
				if strings.ContainsAny(host, "\x00 \n") {
					t.Errorf("%q is looked up", host)
				}
				return nil, errors.New("there is none")
			}),
		}
		for name, h := range helpers {
			if len(args) < h.least {
				continue
			}
			value, _ := newRun(t.Context(), s).call(name, args)
			switch value.(type) {
			case nil, bool, string, int, float64:
			default:
				t.Errorf("%s returns a %T", name, value)
			}
		}
	})
}
