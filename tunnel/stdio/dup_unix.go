//go:build unix && !linux

package stdio

import "golang.org/x/sys/unix"

// duplicate makes the descriptor to refer to the open file of fd.
func duplicate(fd, to int) error { return unix.Dup2(fd, to) }
