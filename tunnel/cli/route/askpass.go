package route

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"culvert/tunnel/internal/textfile"

	"golang.org/x/term"
)

// maxAnswer limits the answer of a program or a person, in bytes.
const maxAnswer = 64 << 10

// commandTimeout limits how long a --credentials-command may run.
const commandTimeout = time.Minute

// ask asks a person: with the program that CULVERT_ASKPASS names, else on the
// terminal, else with the program that SSH_ASKPASS names. As with ssh, that program
// comes before the terminal if SSH_ASKPASS_REQUIRE is force.
func ask(prompt string, secret bool) (string, error) {
	program, first := os.LookupEnv("CULVERT_ASKPASS")
	if !first || program == "" {
		program, first = os.Getenv("SSH_ASKPASS"), os.Getenv("SSH_ASKPASS_REQUIRE") == "force"
	}
	if program != "" && first {
		return askProgram(program, prompt)
	}
	in, out, err := openTerminal()
	switch {
	case err == nil:
		defer in.Close()
		defer out.Close()
		return askTerminal(in, out, prompt, secret)
	case program != "":
		return askProgram(program, prompt)
	}
	return "", errors.New("there is no terminal to ask on, and neither CULVERT_ASKPASS nor SSH_ASKPASS names a program that asks")
}

// askProgram runs a program that takes the prompt as its argument and prints the
// answer.
func askProgram(program, prompt string) (string, error) {
	answer, err := run(context.Background(), exec.Command(program, prompt))
	if err != nil {
		return "", fmt.Errorf("%s: %w", program, err)
	}
	return answer, nil
}

// runCommand has the shell run a command that prints credentials for a hop.
func runCommand(command, hop string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	if runtime.GOOS == "windows" {
		cmd = exec.CommandContext(ctx, "cmd", "/c", command)
	}
	cmd.Env = append(os.Environ(), "CULVERT_HOP="+hop)
	cmd.WaitDelay = time.Second // a child of the command may keep the pipe open
	return run(ctx, cmd)
}

// run runs a command and returns the first line that it prints. The command shares
// this process's stderr.
func run(ctx context.Context, cmd *exec.Cmd) (string, error) {
	var out limitedBuffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	err := cmd.Run()
	text, undecoded := textfile.Decode(out.Bytes()) // it may print a file that an editor wrote
	line, _, _ := strings.Cut(string(text), "\n")
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("it did not end within %v", commandTimeout)
	case errors.As(err, &exit):
		return "", fmt.Errorf("it failed: %v", exit)
	case err != nil:
		return "", fmt.Errorf("cannot be run: %w", errors.Unwrap(err))
	case undecoded != nil:
		return "", fmt.Errorf("what it printed: %w", undecoded)
	case line == "":
		return "", errors.New("it printed nothing")
	}
	return strings.TrimSuffix(line, "\r"), nil
}

// limitedBuffer keeps the first maxAnswer bytes that are written to it.
type limitedBuffer struct{ bytes.Buffer }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	b.Buffer.Write(p[:min(len(p), max(0, maxAnswer-b.Len()))])
	return len(p), nil
}

// openTerminal opens the terminal, even if stdin and stdout are redirected.
func openTerminal() (in, out *os.File, err error) {
	if runtime.GOOS == "windows" {
		if in, err = os.OpenFile("CONIN$", os.O_RDWR, 0); err != nil {
			return nil, nil, err
		}
		out, err = os.OpenFile("CONOUT$", os.O_RDWR, 0)
		return in, out, err
	}
	if in, err = os.OpenFile("/dev/tty", os.O_RDWR, 0); err != nil {
		return nil, nil, err
	}
	out, err = os.OpenFile("/dev/tty", os.O_RDWR, 0)
	return in, out, err
}

// askTerminal asks on a terminal, without echo if the answer is secret. A signal that
// ends the program first turns the echo on again.
func askTerminal(in, out *os.File, prompt string, secret bool) (string, error) {
	fd := int(in.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("the terminal: %w", err)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	answered := make(chan struct{})
	defer func() { signal.Stop(signals); close(answered) }()
	go func() {
		select {
		case s := <-signals:
			_ = term.Restore(fd, state)
			fmt.Fprintln(out)
			signal.Reset()
			if self, err := os.FindProcess(os.Getpid()); err != nil || self.Signal(s) != nil {
				os.Exit(1)
			}
		case <-answered:
		}
	}()
	fmt.Fprint(out, prompt)
	if secret {
		answer, err := term.ReadPassword(fd)
		fmt.Fprintln(out)
		return string(answer), err
	}
	line, err := bufio.NewReader(io.LimitReader(in, maxAnswer)).ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}
