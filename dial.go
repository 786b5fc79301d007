package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/cliway"

	"github.com/urfave/cli/v2"
)

func dialCommand() *cli.Command {
	return &cli.Command{
		Name:      "dial",
		Usage:     "open a tunnel through proxies and be it, on stdin and stdout",
		ArgsUsage: "HOST:PORT | HOST PORT",
		UsageText: "ssh -o 'ProxyCommand culvert dial --proxy http://proxy:3128 -- %h %p' host\n" +
			"ssh -o ProxyUseFdpass=yes -o 'ProxyCommand culvert dial -F -- %h %p' host\n" +
			"culvert dial --proxy http://proxy.corp:3128 -- example.com 22\n" +
			"HTTPS_PROXY=http://proxy.corp:3128 culvert dial -v example.com:443",
		Description: cliway.Choice,
		Flags: append(cliway.Flags(),
			&cli.StringSliceFlag{Name: "or", Usage: "`ROUTE` to take where the one before cannot be taken, its proxies joined by commas, or direct; again for a further one"},
			&cli.StringFlag{Name: "on-eof", Value: string(tunnel.EOFHalfClose), Usage: "at end of file on stdin: `half-close|wait|close`; wait helps where a proxy drops the answer after a half-close"},
			&cli.BoolFlag{Name: "fdpass", Aliases: []string{"F"}, Usage: "hand the open tunnel's socket over on stdout and exit, for ssh's ProxyUseFdpass yes"},
		),
		Action: dial,
	}
}

// dial is the verb.
func dial(c *cli.Context) error {
	dieOnSignal()
	target, err := targetOf(c)
	if err != nil {
		return err
	}
	way, err := wayOf(c, target)
	if err != nil {
		return err
	}
	behind := tunnel.FindBehindSocket()
	if behind == nil {
		if way.Client.KeepUnread, err = fdpassOf(c); err != nil {
			return err
		}
	}
	if way.Client.KeepUnread && !way.Client.HandsOver() {
		return handOverRelay()
	}
	v := verbose{c: c, on: c.Bool("verbose"), client: way.Client, started: time.Now()}
	v.plan(way, target)
	if v.on {
		way.Client.Trace = v.trace()
	}
	conn, err := way.Client.Open(behind.Context(), target)
	if err != nil {
		return explained(err)
	}
	v.say("tunnel open after %d ms", time.Since(v.started).Milliseconds())
	if way.Client.KeepUnread {
		v.say("handing the socket over")
		return explained(conn.HandOver(os.Stdout))
	}
	stdio := tunnel.Stdio{Conn: conn, In: os.Stdin, Out: os.Stdout, OnEOF: tunnel.OnEOF(c.String("on-eof"))}
	if behind != nil {
		if err := behind.Opened(); err != nil {
			return err
		}
		// Who has the other end has it whole: its end is the session's.
		stdio.In, stdio.Out, stdio.OnEOF = behind.Socket, behind.Socket, tunnel.EOFClose
	}
	result, err := stdio.Relay()
	_ = conn.Close()
	_ = way.Client.Close() // with HTTP/2 the last bytes may be on their way
	v.end(result)
	return explained(err)
}

// fdpassOf judges --fdpass before anything is connected. An --on-eof from the
// environment is for other runs: after --fdpass, ssh does the relaying.
func fdpassOf(c *cli.Context) (bool, error) {
	if !c.Bool("fdpass") {
		return false, nil
	}
	if typed := flagSource(c, "on-eof"); strings.HasPrefix(typed, "-") {
		return false, usageErrorf("leave one of them out: with --fdpass ssh does the relaying", "--fdpass and --on-eof exclude each other")
	}
	if err := tunnel.CheckHandOver(os.Stdout); err != nil {
		return false, flagError(c, "fdpass", fmt.Errorf("stdout %w", err), "it is for ssh's ProxyUseFdpass yes; without that leave --fdpass out")
	}
	return true, nil
}

// handOverRelay is --fdpass for a tunnel that is more than a socket: another
// process relays, and has said why if it does not.
func handOverRelay() error {
	code, err := tunnel.HandOverRelay(os.Stdout, os.Stderr)
	if code != 0 {
		return &failure{code: code}
	}
	return explained(err)
}

// explained is a failure of package tunnel, in its words for a person; nil is
// none.
func explained(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, tunnel.ErrOutputClosed):
		return stdoutError(syscall.EPIPE)
	}
	sentence, hint := tunnel.Explain(err)
	return &failure{err: errors.New(sentence), hint: hint, code: tunnel.ExitCode(err)}
}

// targetOf reads the arguments, HOST:PORT or HOST PORT.
func targetOf(c *cli.Context) (target tunnel.Authority, err error) {
	const forms = "give HOST:PORT, or HOST PORT; IPv6 as [::1]:22, or ::1 22"
	switch args := c.Args().Slice(); len(args) {
	case 0:
		return target, usageErrorf(forms, "no target given")
	case 1:
		target, err = tunnel.ParseTarget(args[0])
	case 2:
		target, err = tunnel.ParseHostPort(args[0], args[1])
	default:
		return target, usageErrorf(forms, "more than a target given: %q", args[2])
	}
	if err != nil {
		return target, usageErrorf(forms, "target %v", err)
	}
	return target, nil
}

// wayOf reads the flags that say how to get to the target.
func wayOf(c *cli.Context, target tunnel.Authority) (*cliway.Way, error) {
	way, err := cliway.Of(c, settingsOf(c), target)
	if err == nil {
		way.Client.UserAgent = "culvert/" + version()
	}
	return way, err
}
