package sock

import "syscall"

// The test of Conn is in package sock_test, because it uses packages that import
// this one. It uses these internals.
var (
	NewConn    = newConn
	LocalAddr  = localAddr
	SendNow    = sendNow
	SockaddrOf = sockaddrOf
)

func (c *Conn) Parked() bool                        { return c.parked() }
func (c *Conn) Control(f func(fd int) error) error  { return c.control(f) }
func (c *Conn) IsOwnPeer() bool                     { return c.isOwnPeer() }
func (a *sockaddr) ConnectNow(fd int) syscall.Errno { return a.connectNow(fd) }

// Watched reports whether c is watched for a peer that has vanished.
func (c *Conn) Watched() bool {
	watches.mu.Lock()
	defer watches.mu.Unlock()
	return watches.conns[c] != nil
}
