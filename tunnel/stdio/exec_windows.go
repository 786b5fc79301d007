package stdio

import (
	"errors"
	"os/exec"

	"culvert/tunnel/client"
)

// Exec needs socket pairs. On this system it closes conn and returns
// errors.ErrUnsupported.
func Exec(_ *exec.Cmd, conn *client.Conn) (Result, error) {
	conn.Close()
	return Result{}, errors.ErrUnsupported
}

// KeepFromChildren does nothing: on this system processes inherit what they are given.
func KeepFromChildren(int) {}
