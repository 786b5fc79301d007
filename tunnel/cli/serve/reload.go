package serve

import (
	"fmt"
	"os"
	"strings"
	"time"

	"culvert/tunnel/cli/journal"
	"culvert/tunnel/listen"
	"culvert/tunnel/proxy"
)

// Reloader reads the files of a running proxy again: the log is reopened, certificates,
// rules and users are read anew. A file that cannot be used leaves what was there. Open
// tunnels stay.
type Reloader struct {
	Server  *proxy.Server
	Logs    *Logs
	Rules   *Rules
	TLS     *listen.TLS // nil = no listener speaks TLS
	Journal *journal.Journal

	done, failed []string // of the reload under way
}

// ReloadSignals are the signals by which files are read again.
type ReloadSignals struct {
	hangup chan os.Signal // SIGHUP: everything
	reopen chan os.Signal // SIGUSR1: the log, as programs that rotate logs expect
}

// NotifyReload catches the signals, which would otherwise end the program, and SIGUSR2,
// which does nothing.
func NotifyReload() ReloadSignals {
	s := ReloadSignals{hangup: make(chan os.Signal, 1), reopen: make(chan os.Signal, 1)}
	notifyReload(s)
	return s
}

// Watch does what the signals ask for, until the program ends. Signals that come while
// one is obeyed are obeyed together.
func (r *Reloader) Watch(signals ReloadSignals) {
	for {
		select {
		case <-signals.hangup:
			r.Reload()
		case <-signals.reopen:
			r.ReopenLogs()
		}
	}
}

// Reload reads everything again, and says in one line what was read. What could not be
// has a line of its own.
func (r *Reloader) Reload() {
	// The log comes first, as a file on a dead file system may be waited for.
	r.reopenLogs()
	r.readCertificates()
	r.readRules()
	r.readUsers()
	r.say()
}

// ReopenLogs opens the access log again, and says so.
func (r *Reloader) ReopenLogs() {
	r.reopenLogs()
	r.say()
}

// result notes that what was read again, or why what there was stays.
func (r *Reloader) result(what, stays string, err error) {
	if err != nil {
		r.failed = append(r.failed, fmt.Sprintf("%v: %s", err, stays))
	} else {
		r.done = append(r.done, what)
	}
}

func (r *Reloader) say() {
	for _, words := range r.failed {
		r.Journal.Warn("reload: %s", words)
	}
	switch {
	case r.done != nil:
		r.Journal.Say("reload: %s", strings.Join(r.done, ", "))
	case r.failed == nil:
		r.Journal.Say("reload: no flag names a file that could be read again")
	}
	r.done, r.failed = nil, nil
}

func (r *Reloader) reopenLogs() {
	if name, err := r.Logs.Reopen(); name != "" {
		r.result("log "+name+" opened again", "the log stays in the file that is open", err)
	}
}

func (r *Reloader) readCertificates() {
	if r.TLS == nil {
		return
	}
	if file := r.TLS.CertFile(); file != "" {
		until, err := r.TLS.ReloadCertificate()
		r.result(fmt.Sprintf("certificate %s read, valid until %s", file, until.UTC().Format(time.DateOnly)), "the certificate before stays", err)
	}
	if file := r.TLS.ClientCAFile(); file != "" {
		r.result("authorities "+file+" read", "the authorities before stay", r.TLS.ReloadClientCA())
	}
}

func (r *Reloader) readRules() {
	changed := false
	for _, f := range r.Rules.files {
		now, err := f.read()
		changed = changed || now
		r.result(fmt.Sprintf("rules %s read (%d)", f.path, f.rules.Len()), "its rules before stay", err)
	}
	if changed {
		r.Server.SetPolicy(r.Rules.Policy())
	}
}

func (r *Reloader) readUsers() {
	if users, ok := r.Server.Verifier.(*proxy.Users); ok {
		n, err := users.Reload()
		r.result(fmt.Sprintf("users %s read (%d)", users.Path(), n), "the users before stay", err)
	}
}
