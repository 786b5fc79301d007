//go:build unix && !linux

package stdio

import "golang.org/x/sys/unix"

// duplicate makes to another name of fd's file.
func duplicate(fd, to int) error { return unix.Dup2(fd, to) }
