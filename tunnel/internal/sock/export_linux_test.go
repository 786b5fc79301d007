package sock

import "syscall"

// What the external test reaches of this package's insides.
var (
	NewConn    = newConn
	LocalAddr  = localAddr
	SendNow    = sendNow
	SockaddrOf = sockaddrOf
)

func (s *Conn) Parked() bool                        { return s.parked() }
func (s *Conn) Control(f func(fd int) error) error  { return s.control(f) }
func (s *Conn) IsOwnPeer() bool                     { return s.isOwnPeer() }
func (a *sockaddr) ConnectNow(fd int) syscall.Errno { return a.connectNow(fd) }
