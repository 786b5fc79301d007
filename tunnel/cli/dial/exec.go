package dial

import (
	"errors"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"culvert/tunnel/cli/args"
	"culvert/tunnel/cli/exit"
	"culvert/tunnel/client"
	"culvert/tunnel/stdio"
)

// Exec is dial --exec: it runs a command whose stdin and stdout are the tunnel. It
// passes signals on to the command. The command inherits no credentials: neither the
// variables of culvert's nor the descriptors that the flags name as files. A command that
// fails is an *exit.Error with the command's exit code.
func Exec(conn *client.Conn, words []string, flags *args.Values) (stdio.Result, error) {
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stderr = os.Stderr
	cmd.Env = withoutOwnVariables(os.Environ())
	keepDescriptors(flags, os.Getenv("NETRC"))
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for {
			select {
			case s := <-signals:
				if s != syscall.SIGINT { // the terminal sends that to the command too
					_ = cmd.Process.Signal(s)
				}
			case <-ended:
				return
			}
		}
	}()
	result, err := stdio.Exec(cmd, conn)
	var failed *exec.ExitError
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return result, &exit.Error{Err: errors.New("--exec does not work on this system"), Hint: "use --listen, or stdin and stdout"}
	case !errors.As(err, &failed):
		return result, exit.Explained(err)
	case failed.ExitCode() < 0:
		if status, ok := failed.Sys().(syscall.WaitStatus); ok {
			return result, exit.Signal(status.Signal())
		}
	}
	return result, exit.Code(failed.ExitCode())
}

// withoutOwnVariables returns an environment without the variables of culvert's, any of
// which may hold a password: CULVERT_PROXY_PASSWORD, CULVERT_PROXY, CULVERT_DIAL_HEADER.
// HTTPS_PROXY and its like stay, which the user has set for every program.
func withoutOwnVariables(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(entry string) bool { return strings.HasPrefix(entry, "CULVERT_") })
}

// keepDescriptors keeps from children the inherited descriptors that the values of flags,
// or more, name as files, as /dev/fd/63 does: there are secrets in them.
func keepDescriptors(flags *args.Values, more ...string) {
	for _, s := range flags.Settings() {
		more = append(more, s.Value)
	}
	for _, value := range more {
		if plain, err := url.PathUnescape(value); err == nil { // as in the query of a proxy's URL
			value = plain
		}
		for _, found := range regexp.MustCompile(`/(?:dev|proc/self)/fd/(\d+)`).FindAllStringSubmatch(value, -1) {
			if fd, err := strconv.Atoi(found[1]); err == nil && fd > 2 {
				stdio.KeepFromChildren(fd)
			}
		}
	}
}
