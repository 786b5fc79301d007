package route

import (
	"context"
	"errors"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
	"culvert/tunnel/pac"
)

// script has a proxy auto-config script choose the way; flag is "pac" or "wpad".
func (w *Way) script(flag string, target tunnel.Authority) error {
	script, err := w.chooser.load(w.chooser.ctx, flag, w.flags.String(flag))
	if err != nil {
		return w.scriptError(flag, err)
	}
	if target.IsZero() {
		w.Why = "a script chooses for each target"
		return nil
	}
	answer, err := script.Find(w.chooser.ctx, target)
	for _, alert := range answer.Alerts {
		w.Notes = append(w.Notes, "the script says: "+alert)
	}
	if err != nil {
		return w.scriptError(flag, err)
	}
	for _, l := range answer.Lookups {
		found := make([]string, len(l.Addrs))
		for i, a := range l.Addrs {
			found[i] = a.String()
		}
		if l.Err != nil {
			found = []string{l.Err.Error()}
		}
		w.Notes = append(w.Notes, "the script looked up "+l.Name+": "+strings.Join(found, ", "))
	}
	for _, skipped := range answer.Skipped {
		w.Notes = append(w.Notes, "left out of the script's answer: "+skipped)
	}
	w.Client.Route, w.Client.Or = answer.Routes[0], answer.Routes[1:]
	w.Why = answer.Function + " in " + answer.Script + " returned \"" + answer.Returned + "\""
	return nil
}

// load reads the script, once.
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

// scriptError is a usage error in what a person gave, and an unreachable proxy
// where a network's script could not be had.
func (w *Way) scriptError(flag string, err error) error {
	e := &args.Error{Message: w.flags.Source(flag) + ": " + err.Error()}
	var of *pac.Error
	if errors.As(err, &of) {
		e.Hint = of.Hint
		if of.Stage == pac.StageDiscover || of.Stage == pac.StageLoad && strings.HasPrefix(of.Source, "http") {
			e.ExitCode = tunnel.ExitProxyUnreachable
		}
	}
	return e
}
