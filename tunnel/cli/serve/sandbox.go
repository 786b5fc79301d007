package serve

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"culvert/tunnel/cli/args"
	"culvert/tunnel/internal/sandbox"
	"culvert/tunnel/listen"
)

// Sandbox takes from this process what serving does not need, unless --no-sandbox is
// given, and returns lines for a person that say what is on. It is called when every
// listener is bound and everything that has to be started was started: nothing can be
// executed afterwards, and files can be written only in the folders of the access log, of
// ACME, and of unix sockets. removed are files that will be removed at the end.
func Sandbox(flags *args.Values, specs []listen.Spec, removed []string) (lines []string) {
	if flags.Bool("no-sandbox") {
		return []string{"sandbox: off"}
	}
	status, err := sandbox.Apply(written(flags, specs), removed)
	if words := sandboxWords(status); words != "" {
		lines = append(lines, "sandbox: "+words)
	}
	if err != nil {
		lines = append(lines, "sandbox: not all of it is on: "+err.Error())
	}
	return lines
}

// written returns the names of the files and folders that serve writes while it serves.
func written(flags *args.Values, specs []listen.Spec) (names []string) {
	if log := flags.String("access-log"); log != "-" && !strings.HasPrefix(log, "/dev/std") {
		names = append(names, log)
	}
	if hosts := flags.Strings("acme"); len(hosts) > 0 {
		if dir, err := (listen.ACME{Dir: flags.String("acme-dir")}).Folder(); err == nil {
			names = append(names, dir)
		}
	}
	for _, spec := range specs {
		if spec.Network == "unix" && !strings.HasPrefix(spec.Address, "@") { // an abstract socket has no file
			names = append(names, spec.Address)
		}
	}
	return names
}

// sandboxWords says what is on; "" = there is no sandbox on this system.
func sandboxWords(s sandbox.Status) string {
	if !s.Hardened {
		if runtime.GOOS == "linux" {
			return "" // the error was told
		}
		return "none on this system"
	}
	const hardened = "no core dumps, no tracing, no new privileges"
	places := append(slices.Clone(s.Folders), s.Files...)
	switch {
	case s.Landlock == 0:
		return hardened + "; this kernel has no Landlock to restrict files and programs"
	case len(places) == 0:
		return hardened + ", no program is run, no file written"
	}
	return fmt.Sprintf("%s, no program is run, files are written in %s only", hardened, strings.Join(places, ", "))
}
