package probe

import (
	"context"
	"fmt"
	"io"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
	"culvert/tunnel/probe"
	"culvert/tunnel/terminal"
)

// maxParallel is the most that --parallel may ask for.
const maxParallel = 1024

// Series is what probe does by --count. Flags, Prober and Out are required.
type Series struct {
	Flags    *args.Values
	Prober   *probe.Prober
	Out      io.Writer
	Style    terminal.Style
	Progress *Progress // nil = not shown
}

// Run probes, and prints each try and the summary. The exit code is that of the
// commonest failure. If the context ends before the first try does, Run returns its
// error. A mistake in a flag is an *args.Error.
func (c *Series) Run(ctx context.Context, target tunnel.Authority) (exitCode int, err error) {
	s := &probe.Series{Prober: c.Prober, Count: c.Flags.Int("count"), Interval: c.Flags.Duration("interval"), Parallel: c.Flags.Int("parallel")}
	asJSON := c.Flags.Bool("json")
	switch {
	case s.Count < 0 || s.Interval < 0:
		return 0, args.Usagef("as in --count 10 --interval 500ms", "--count and --interval are not negative")
	case s.Parallel < 1 || s.Parallel > maxParallel:
		return 0, args.Usagef("as in --parallel 10", "--parallel %d: it is 1 to %d", s.Parallel, maxParallel)
	case s.Count == 0 && asJSON:
		return 0, args.Usagef("give --count a number", "--json has every try, and --count 0 has no end")
	}
	if c.Prober.Wait = c.wait(s.Interval); c.Prober.Wait == 0 {
		c.Prober.Wait = -1
	}
	if c.Progress != nil && s.Parallel > 1 { // one line cannot show several
		c.Prober.Client.Trace = nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var failed error
	report, err := s.Run(ctx, target, asJSON, func(t probe.Try) {
		c.Progress.Wipe()
		if asJSON || failed != nil {
			return
		}
		if failed = t.WriteText(c.Out, c.Style); failed != nil {
			cancel()
		}
	})
	c.Progress.Wipe()
	switch {
	case failed != nil:
	case err != nil:
		return 0, err
	case asJSON:
		failed = report.WriteJSON(c.Out)
	default:
		failed = report.WriteText(c.Out, c.Style)
	}
	if failed != nil {
		return 0, fmt.Errorf("stdout: %w", failed)
	}
	return report.ExitCode(), nil
}

// wait returns how long each try reads from its open tunnel: at most half the interval,
// unless --wait is given. With --send there is an answer to wait for, and with --tls the
// refusal of a client's certificate, which comes after the handshake (RFC 8446, section
// 4.4.2.4).
func (c *Series) wait(interval time.Duration) time.Duration {
	if c.Flags.IsSet("wait") || c.Flags.String("send") != "" || c.Flags.Bool("tls") {
		return c.Prober.Wait
	}
	return min(c.Prober.Wait, interval/2)
}
