package pac

import (
	"context"
	"errors"
	"slices"
	"strings"

	"culvert/tunnel"

	"golang.org/x/net/publicsuffix"
)

// maxDomains bounds how many domains are asked for a script.
const maxDomains = 16

// ErrNotFound is what the *Error of a Discover that found nothing is.
var ErrNotFound = errors.New("no proxy script was found")

// Discovery finds the script of the network that a machine is in, by its
// well-known name (WPAD, draft-ietf-wrec-wpad-01): http://wpad.DOMAIN/wpad.dat.
// Only DNS is asked, no DHCP, which takes a raw socket or a daemon's help.
//
// Whoever answers for a name wpad decides where tunnels go, and the script
// comes in clear: use it only where a person asks for it.
type Discovery struct {
	// Loader reads the script, and looks the names up; nil = the zero Loader.
	// Its Timeout is for all of a Discover.
	Loader *Loader

	// Domains are where to look; nil = those of SystemDomains.
	Domains []string

	// Tried is called for each name with why it led nowhere; nil = nobody asks.
	Tried func(host string, why error)
}

// Discover is that of the zero Discovery.
func Discover(ctx context.Context) (*Script, error) { return new(Discovery).Discover(ctx) }

// Discover returns the script of the first domain that has one. For each domain
// in order it asks there and in the domains above, but never at a public suffix
// (publicsuffix.org) nor in a domain of one label, as com, co.uk or lan: such
// names are not the network's own. Names are looked up as they are, without
// search domains. Errors are *Error, ErrNotFound if no name leads to a script.
func (d *Discovery) Discover(ctx context.Context) (*Script, error) {
	loader := d.Loader
	if loader == nil {
		loader = new(Loader)
	}
	timeout := loader.Timeout
	if timeout == 0 {
		timeout = DefaultLoadTimeout
	}
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, &tooLong{timeout})
		defer cancel()
	}
	domains := d.Domains
	if domains == nil {
		domains = systemDomains()
	}
	hosts := wpadHosts(domains)
	if len(hosts) == 0 {
		return nil, &Error{Stage: StageDiscover, Detail: "this machine is in no domain in which to look for one", Err: ErrNotFound,
			Hint: "name the script's file or URL"}
	}
	for _, host := range hosts {
		script, err := d.at(ctx, loader, host)
		if err == nil {
			return script, nil
		}
		if d.Tried != nil {
			d.Tried(host, err)
		}
		if ctx.Err() != nil {
			return nil, &Error{Stage: StageDiscover, Source: "http://" + host + "/wpad.dat", Detail: "stopped", Err: context.Cause(ctx)}
		}
	}
	return nil, &Error{Stage: StageDiscover, Detail: "tried " + escape(strings.Join(hosts, ", ")), Err: ErrNotFound,
		Hint: "name the script's file or URL"}
}

// at reads one host's script.
func (d *Discovery) at(ctx context.Context, loader *Loader, host string) (*Script, error) {
	if addrs, err := loader.resolver().LookupNetIP(ctx, "ip", host+"."); err != nil || len(addrs) == 0 {
		if err == nil {
			err = errors.New("the name has no address")
		}
		return nil, &Error{Stage: StageDiscover, Source: "http://" + host + "/wpad.dat", Err: err}
	}
	return loader.load(ctx, "http://"+host+"/wpad.dat", true)
}

// wpadHosts are the names to ask, each once.
func wpadHosts(domains []string) []string {
	var hosts []string
	for _, domain := range domains {
		name, err := tunnel.NewAuthority(domain, 80)
		if err != nil || name.Addr().IsValid() {
			continue
		}
		own, err := publicsuffix.EffectiveTLDPlusOne(name.Host())
		if err != nil { // it is a public suffix itself
			continue
		}
		for at := name.Host(); len(at) >= len(own) && len(hosts) < maxDomains; {
			if host := "wpad." + at; !slices.Contains(hosts, host) {
				hosts = append(hosts, host)
			}
			_, above, ok := strings.Cut(at, ".")
			if at = above; !ok {
				break
			}
		}
	}
	return hosts
}
