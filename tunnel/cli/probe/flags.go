package probe

import (
	"time"

	"culvert/tunnel/audit"
	"culvert/tunnel/cli/args"
	"culvert/tunnel/probe"
)

// Flags returns the flags of probe alone, in the order of the help.
func Flags() []args.Flag {
	return []args.Flag{
		{Name: "audit", Kind: args.Switch, Usage: "run the conformance suite against the proxy; exit 11 if it breaks a MUST"},
		{Name: "list", Kind: args.Switch, Usage: "print the checks of --audit, and exit; --json for programs"},
		{Name: "check", Kind: args.List, Usage: "of --audit, only the check or group `ID`, or several, joined by commas"},
		{Name: "target-listen", Kind: args.Text,
			Usage: "listen on `HOST:PORT` for what the proxy is asked to connect to; by default any port of " +
				"127.0.0.1 if the proxy is on loopback, or 443, 80, 8443 or 8080 if it refuses that"},
		{Name: "target-announce", Kind: args.Text,
			Usage: "tell the proxy to connect to `HOST:PORT`, which leads to --target-listen"},
		{Name: "patience", Kind: args.Duration, Default: audit.DefaultPatience,
			Usage: "of --audit, --ports and --reach: `TIME` to wait for each answer"},
		{Name: "audit-idle", Kind: args.Duration, Usage: "leave a tunnel silent for `TIME`, and see whether it lives"},
		{Name: "audit-slow", Kind: args.Duration,
			Usage: "drip a head, and send nothing, for up to `TIME` each, and see whether the proxy ends that"},
		{Name: "junit", Kind: args.Text, Usage: "of --audit, write JUnit's XML to `FILE` too, in place of what is there"},
		{Name: "markdown", Kind: args.Switch, Usage: "of --audit, print it in Markdown, with the bytes of what failed"},
		{Name: "compare", Kind: args.Switch,
			Usage: "print where two audits differ, probe --compare A.json B.json; exit 11 if B breaks a MUST that A does not"},
		{Name: "ports", Kind: args.Text,
			Usage: "ask the proxy for each of the target's `PORTS`, as 22,80,8000-8010; the target may be a HOST alone"},
		{Name: "reach", Kind: args.Switch,
			Usage: "ask the proxy for what it should not open: itself, loopback, private networks, metadata; exit 11 if it does"},
		{Name: "tls-no-direct", Kind: args.Switch,
			Usage: "with --tls: do not connect to the target without the proxy, to compare its certificate"},
		{Name: "tls-unrelated", Kind: args.List,
			Usage: "with --tls: compare the certificate of `HOST:PORT`, of another owner's, " +
				"with the target's if that is no public one; none = of nobody"},
		{Name: "i-own-this", Kind: args.Switch, TypedOnly: true,
			Usage: "say that you may test a proxy that is not on loopback: --audit, --ports and --reach want it"},
		{Name: "wait", Kind: args.Duration, Default: probe.DefaultWait,
			Usage: "`TIME` to listen to the open tunnel, and for the proxy to close after a " +
				"refusal; 0 is off; with --count, unless given, half the interval at most"},
		{Name: "send", Kind: args.Text,
			Usage: "send `TEXT` through the open tunnel, with \\r \\n \\t \\\\ \\xNN for what cannot be typed"},
		{Name: "count", Kind: args.Number, Usage: "probe `N` times, a line each, and sum up; 0 is until Ctrl-C"},
		{Name: "interval", Kind: args.Duration, Default: time.Second,
			Usage: "of --count: `TIME` from the start of one to that of the next"},
		{Name: "parallel", Kind: args.Number, Default: 1, Usage: "of --count: at most `N` at once"},
		{Name: "save", Kind: args.Text, Usage: "write the exchange to a new `FILE` too, which tunneltest plays back"},
		{Name: "hex", Kind: args.Switch,
			Usage: "show the bytes in hexadecimal, with offsets, and when each read brought them; not those of HTTP/2's frames"},
		{Name: "raw", Kind: args.Switch,
			Usage: "print the bytes received, as they are, and the verdict to stderr; not to a terminal"},
		{Name: "json", Kind: args.Switch, Usage: "print the report as one JSON document"},
	}
}
