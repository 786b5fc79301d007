//go:build !unix

package sock

import "net"

// HasEnded always reports false on this system. A request that must not be
// repeated may then be sent over a connection that has ended.
func HasEnded(net.Conn) bool { return false }
