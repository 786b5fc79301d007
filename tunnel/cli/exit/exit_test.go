package exit

import (
	"errors"
	"fmt"
	"io"
	"syscall"
	"testing"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
	"culvert/tunnel/stdio"
)

// Every error has an exit code, also where it is wrapped.
func TestOf(t *testing.T) {
	refused := &tunnel.Error{Phase: tunnel.PhaseConnect, Type: tunnel.ErrorConnectionRefused, Err: syscall.ECONNREFUSED}
	for name, tt := range map[string]struct {
		err           error
		message, hint string
		code          int
	}{
		"nothing failed":          {nil, "", "", tunnel.ExitOK},
		"no message":              {Code(tunnel.ExitRefused), "", "", tunnel.ExitRefused},
		"a mistake in a flag":     {args.Usagef("write it so", "it is written badly"), "it is written badly", "write it so", tunnel.ExitUsage},
		"wrapped mistake":         {fmt.Errorf("serve: %w", args.Usagef("write it so", "bad")), "serve: bad", "write it so", tunnel.ExitUsage},
		"its own code":            {&Error{Err: io.ErrUnexpectedEOF, Hint: "try again", Code: 7}, "unexpected EOF", "try again", 7},
		"the code of its error":   {&Error{Err: refused}, refused.Error(), "", tunnel.ExitCode(refused)},
		"an error of a tunnel":    {refused, refused.Error(), "", tunnel.ExitCode(refused)},
		"an error of no tunnel":   {io.ErrClosedPipe, "io: read/write on closed pipe", "", tunnel.ExitUnexpected},
		"by a signal":             {Signal(syscall.SIGPIPE), "", "", 141},
		"a stdout without reader": {Stdout(fmt.Errorf("write: %w", syscall.EPIPE)), "", "", 141},
		"a full disk":             {Stdout(syscall.ENOSPC), "stdout: no space left on device", "", tunnel.ExitUnexpected},
	} {
		e := Of(tt.err)
		if e.Error() != tt.message || e.Hint != tt.hint || e.Code != tt.code {
			t.Errorf("%s: message %q, hint %q, code %d, want %q, %q, %d", name, e.Error(), e.Hint, e.Code, tt.message, tt.hint, tt.code)
		}
	}
	if err := Code(tunnel.ExitOK); err != nil {
		t.Errorf("exit code 0 is the error %v", err)
	}
}

// The explanation of a failed tunnel keeps the tunnel's exit code.
func TestExplained(t *testing.T) {
	if err := Explained(nil); err != nil {
		t.Errorf("no error is explained as %v", err)
	}
	refused := &tunnel.Error{Phase: tunnel.PhaseConnect, Type: tunnel.ErrorConnectionRefused, Err: syscall.ECONNREFUSED}
	if e := Of(Explained(refused)); e.Code != tunnel.ExitCode(refused) || e.Error() == "" {
		t.Errorf("message %q, code %d, want some and %d", e.Error(), e.Code, tunnel.ExitCode(refused))
	}
	if e := Of(Explained(fmt.Errorf("relay: %w", stdio.ErrOutputClosed))); e.Code != 141 || e.Error() != "" {
		t.Errorf("closed stdout: message %q, code %d, want none and 141", e.Error(), e.Code)
	}
}

// The error inside can be found.
func TestErrorUnwraps(t *testing.T) {
	if err := error(&Error{Err: io.EOF, Code: 3}); !errors.Is(err, io.EOF) {
		t.Error("io.EOF is not found in the error")
	}
}
