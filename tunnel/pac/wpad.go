package pac

import (
	"context"
	"errors"
	"slices"
	"strings"

	"culvert/tunnel"

	"golang.org/x/net/publicsuffix"
)

// maxDomains limits the number of domains that are asked for a script.
const maxDomains = 16

// ErrNotFound is wrapped by the *Error of a Discover that found no script.
var ErrNotFound = errors.New("no proxy script was found")

// Discovery finds the script of the network that the machine is in by its well-known
// name (WPAD, draft-ietf-wrec-wpad-01): http://wpad.DOMAIN/wpad.dat. It uses DNS only,
// as DHCP would take a raw socket or the help of a daemon.
//
// The host that has the name wpad decides where tunnels go, and the script is sent in
// clear. Use Discovery only if the user asks for it.
type Discovery struct {
	// Loader reads the script and resolves the names; nil = the zero Loader. Its
	// Timeout limits a Discover as a whole.
	Loader *Loader

	// Domains are the domains in which to look; nil = those in which this machine
	// looks for names.
	Domains []string

	// Tried is called for each name that led to no script, with the reason; nil = it
	// is not.
	Tried func(host string, why error)
}

// Discover calls Discover of the zero Discovery.
func Discover(ctx context.Context) (*Script, error) { return new(Discovery).Discover(ctx) }

// Discover returns the script of the first domain that has one. For each domain in order
// it tries the domain and those above it, but no public suffix (publicsuffix.org) and
// no domain of one label, such as com, co.uk or lan: they do not belong to the network.
// Names are looked up without search domains. Errors are *Error. They wrap ErrNotFound
// if no name leads to a script.
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

// at reads the script of one host.
func (d *Discovery) at(ctx context.Context, loader *Loader, host string) (*Script, error) {
	if addrs, err := loader.resolver().LookupNetIP(ctx, "ip", host+"."); err != nil || len(addrs) == 0 {
		if err == nil {
			err = errors.New("the name has no address")
		}
		return nil, &Error{Stage: StageDiscover, Source: "http://" + host + "/wpad.dat", Err: err}
	}
	return loader.load(ctx, "http://"+host+"/wpad.dat", true)
}

// wpadHosts returns the names to try, without duplicates.
func wpadHosts(domains []string) []string {
	var hosts []string
	for _, domain := range domains {
		name, err := tunnel.NewAuthority(domain, 80)
		if err != nil || name.Addr().IsValid() {
			continue
		}
		own, err := publicsuffix.EffectiveTLDPlusOne(name.Host())
		if err != nil { // the domain is a public suffix
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
