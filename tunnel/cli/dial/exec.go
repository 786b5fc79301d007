package dial

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"culvert/tunnel/cli/exit"
	"culvert/tunnel/client"
	"culvert/tunnel/stdio"
)

// Exec is dial --exec: it runs a command whose stdin and stdout are the tunnel. It
// passes signals on to the command. A command that fails is an *exit.Error with the
// command's exit code.
func Exec(conn *client.Conn, words []string) (stdio.Result, error) {
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stderr = os.Stderr
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
