package route

import (
	"context"
	"errors"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
	"culvert/tunnel/pac"
)

// script asks a proxy auto-config script for the route. flag is "pac" or "wpad".
func (p *Plan) script(flag string, target tunnel.Authority) error {
	script, err := p.chooser.load(p.chooser.ctx, flag, p.flags.String(flag))
	if err != nil {
		return p.scriptError(flag, err)
	}
	if target.IsZero() {
		p.Why = "a script chooses for each target"
		return nil
	}
	answer, err := script.Find(p.chooser.ctx, target)
	for _, alert := range answer.Alerts {
		p.Notes = append(p.Notes, "the script says: "+alert)
	}
	if err != nil {
		return p.scriptError(flag, err)
	}
	for _, l := range answer.Lookups {
		found := make([]string, len(l.Addrs))
		for i, a := range l.Addrs {
			found[i] = a.String()
		}
		if l.Err != nil {
			found = []string{l.Err.Error()}
		}
		p.Notes = append(p.Notes, "the script looked up "+l.Name+": "+strings.Join(found, ", "))
	}
	for _, skipped := range answer.Skipped {
		p.Notes = append(p.Notes, "left out of the script's answer: "+skipped)
	}
	p.Client.Route, p.Client.Or = answer.Routes[0], answer.Routes[1:]
	p.Why = answer.Function + " in " + answer.Script + " returned \"" + answer.Returned + "\""
	return nil
}

// load loads the script, once for all targets.
func (ch *Chooser) load(ctx context.Context, flag, source string) (_ *pac.Script, err error) {
	ch.loading.Lock()
	defer ch.loading.Unlock()
	if ch.loaded != nil {
		return ch.loaded, nil
	}
	loader := &pac.Loader{UserAgent: ch.userAgent}
	if flag == "pac" {
		ch.loaded, err = loader.Load(ctx, source)
	} else {
		ch.loaded, err = (&pac.Discovery{Loader: loader}).Discover(ctx)
	}
	return ch.loaded, err
}

// scriptError returns the error for a script that failed: a usage error, unless the
// script could not be loaded over the network, which has the exit code of an
// unreachable proxy.
func (p *Plan) scriptError(flag string, err error) error {
	e := &args.Error{Message: p.flags.Source(flag) + ": " + err.Error()}
	var of *pac.Error
	if errors.As(err, &of) {
		e.Hint = of.Hint
		if of.Stage == pac.StageDiscover || of.Stage == pac.StageLoad && strings.HasPrefix(of.Source, "http") {
			e.ExitCode = tunnel.ExitProxyUnreachable
		}
	}
	return e
}
