//go:build !unix

package tunnel

import "syscall"

const canPeek = false

func peek(syscall.RawConn, []byte) (int, error) { return 0, noHandOver{} }
