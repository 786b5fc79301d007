// Package explain puts errors into words for people: an Error is one sentence that
// says what failed, and a hint that says what to do about it.
//
// What it returns is fit for a terminal: escaped, and without line breaks. It knows
// the names of culvert's flags, but neither parses nor prints anything, and no
// package that serves clients imports it.
package explain

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/internal/wire"
)

// Error explains a failure of a client.Client or a stdio.Tunnel in one sentence, for a
// user who may see nothing else of it (under ssh, for example), and hints at what to do
// next, "" if nothing can be done. Neither contains a line break or a control
// character, whatever a proxy sent. An err without a *tunnel.Error in its chain is
// its own sentence. err must not be nil.
func Error(err error) (sentence, hint string) {
	var e *tunnel.Error
	if !errors.As(err, &e) {
		return wire.Escape([]byte(err.Error()), 4*client.MaxDetail), ""
	}
	x := explanationOf(e)
	words, descriptors, ownLimit := OwnLimit(e)
	switch {
	case x.Phase == tunnel.PhaseRelay:
		return x.brokenTunnel()
	case ownLimit:
		return words + " on the way to " + x.destination() + x.causeSuffix(), descriptors
	case errors.Is(err, context.Canceled):
		return "cancelled on the way to " + x.destination(), ""
	case x.Phase == tunnel.PhaseReply && (x.Status != 0 || x.Reported):
		return x.refused()
	case x.Phase == tunnel.PhaseTLS:
		return x.noTLS()
	case x.Hop == "" && x.Type == tunnel.ErrorRequest:
		return "the request cannot be sent: " + x.Cause(), ""
	case x.Hop == "":
		return x.unreachedTarget()
	case x.Phase == tunnel.PhaseRequest || x.Phase == tunnel.PhaseReply:
		return x.noAnswer()
	}
	return x.unreachedProxy()
}

// explanation puts a tunnel.Error into words.
type explanation struct {
	*tunnel.Error
	answer tunnel.AnswerTrouble // the Error's, or zero
	login  tunnel.LoginTrouble  // the Error's, or zero
}

func explanationOf(e *tunnel.Error) explanation {
	x := explanation{Error: e}
	if e.Answer != nil {
		x.answer = *e.Answer
	}
	if e.Login != nil {
		x.login = *e.Login
	}
	return x
}

// OwnLimit returns what to say if e means that this machine, or this process, lacks what
// another connection needs; ok is false for any other Error.
func OwnLimit(e *tunnel.Error) (words, hint string, ok bool) {
	if e.Type != tunnel.ErrorConnectionLimit || e.Phase != tunnel.PhaseConnect {
		return "", "", false
	}
	hint = "this machine is short of memory for connections"
	switch {
	case errors.Is(e.Err, syscall.EMFILE), errors.Is(e.Err, syscall.ENFILE):
		hint = "this machine ran out of descriptors: raise ulimit -n"
	case errors.Is(e.Err, syscall.EADDRNOTAVAIL), errors.Is(e.Err, syscall.EADDRINUSE):
		hint = "all local ports are in use: close other connections to it, or widen the range (on Linux net.ipv4.ip_local_port_range)"
	}
	return "culvert's own limit", hint, true
}

// destination names what was to be reached: the proxy or, without one, the target.
func (x explanation) destination() string {
	if x.Hop != "" {
		return x.proxy()
	}
	return x.Target.String()
}

// proxy names the proxy. It escapes the name, since the path of a socket may
// contain anything.
func (x explanation) proxy() string { return "proxy " + wire.Escape([]byte(x.Hop), client.MaxDetail) }

// setting names a setting and, if known, its source.
func (x explanation) setting(what string) string {
	return settingIn(what, x.Source)
}

func settingIn(what, source string) string {
	if source == "" {
		return what
	}
	return what + " in " + wire.Escape([]byte(source), 80)
}

// causeSuffix is the cause, for the end of a sentence.
func (x explanation) causeSuffix() string { return ": " + Cause(x.Error) }

// Cause returns the cause of an Error: the error beneath it, or else the Error's
// own.
func Cause(e *tunnel.Error) string {
	if e.Err == nil {
		return e.Cause()
	}
	return wire.Escape([]byte(e.Err.Error()), client.MaxDetail)
}

// brokenTunnel explains an open tunnel that broke.
func (x explanation) brokenTunnel() (sentence, hint string) {
	through := ""
	if x.Hop != "" {
		through = " through " + x.proxy()
	}
	return "the tunnel to " + x.Target.String() + through + " broke" + x.causeSuffix(),
		"the target, or something on the way with an idle limit, cut it: for ssh, try ServerAliveInterval 30"
}

// versionHint is the hint for an address that -4 or -6 excludes.
const versionHint = "leave -4 and -6 out, or give a name"

// unreachedTarget explains a target that could not be connected to directly.
func (x explanation) unreachedTarget() (sentence, hint string) {
	target := x.Target.String()
	switch x.Type {
	case tunnel.ErrorDestinationUnroutable:
		if x.Phase == tunnel.PhaseResolve {
			return target + " cannot be reached: " + x.Cause(), versionHint
		}
	case tunnel.ErrorDNS:
		return target + " cannot be resolved" + x.unresolvedSuffix(), "check the name; if only a proxy can resolve it, name that with --proxy"
	case tunnel.ErrorDNSTimeout:
		return target + " cannot be resolved: the name server did not answer in time", "check the network; if it wants a proxy, name that with --proxy"
	case tunnel.ErrorConnectionRefused:
		return target + " refused the connection", fmt.Sprintf("nothing listens on port %d there: check the port, or whether the server runs", x.Target.Port())
	case tunnel.ErrorConnectionTimeout:
		return target + " did not accept the connection in time", "a firewall may stand between: if this network wants a proxy, name it with --proxy"
	}
	return target + " cannot be reached" + x.causeSuffix(), "check the network; if it wants a proxy, name that with --proxy"
}

// unresolvedSuffix says why a name has no address, for the end of a sentence.
func (x explanation) unresolvedSuffix() string {
	if x.Detail != "" {
		return ": " + x.Detail
	}
	return x.causeSuffix()
}

// unreachedProxy explains a proxy that could not be connected to.
func (x explanation) unreachedProxy() (sentence, hint string) {
	if strings.HasPrefix(x.Hop, tunnel.SchemeUnix+":") {
		return x.proxy() + " cannot be reached" + x.causeSuffix(), "check " + x.setting("the socket's path") + ", its permissions, and whether the proxy runs"
	}
	switch x.Type {
	case tunnel.ErrorDestinationUnroutable:
		if x.Phase == tunnel.PhaseResolve {
			return x.proxy() + " cannot be reached: " + x.Cause(), versionHint
		}
	case tunnel.ErrorDNS:
		return x.proxy() + " cannot be resolved" + x.unresolvedSuffix(), "check " + x.setting("the proxy's name") + "; some are known only inside their network or VPN"
	case tunnel.ErrorDNSTimeout:
		return x.proxy() + " cannot be resolved: the name server did not answer in time", "check the network, or give " + x.setting("the proxy's address") + " instead of its name"
	case tunnel.ErrorConnectionRefused:
		return x.proxy() + " refused the connection", "nothing listens there: check " + x.setting("the proxy's port") + ", or whether the proxy runs"
	case tunnel.ErrorConnectionTimeout:
		return x.proxy() + " did not accept the connection in time", "a firewall may stand between: check " + x.setting("the proxy's address") + ", or wait longer with --connect-timeout"
	}
	return x.proxy() + " cannot be reached" + x.causeSuffix(), "check " + x.setting("the proxy's address") + " and the network"
}
