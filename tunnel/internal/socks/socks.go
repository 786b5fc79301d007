// Package socks names the bytes of SOCKS version 5 (RFC 1928, RFC 1929) and of
// version 4a, which a client and a server read and write.
package socks

// The first byte of a message.
const (
	Version5    = 5
	Version4    = 4
	AuthVersion = 1 // of a login by user name and password (RFC 1929)
)

// The methods of a login (RFC 1928, section 3).
const (
	NoAuth       = 0
	Password     = 2
	NoAcceptable = 0xff // the server takes none of those offered
)

// MaxText is the length of the longest name, user name or password that version
// 5 can carry, in bytes.
const MaxText = 255

// Connect is the command CONNECT, in either version.
const Connect = 1

// The kinds of address (RFC 1928, section 5).
const (
	AddrIPv4 = 1
	AddrName = 3
	AddrIPv6 = 4
)

// The codes of an answer to a request (RFC 1928, section 6).
const (
	Succeeded           = 0
	GeneralFailure      = 1
	NotAllowed          = 2
	NetworkUnreachable  = 3
	HostUnreachable     = 4
	ConnectionRefused   = 5
	TTLExpired          = 6
	CommandNotSupported = 7
	AddressNotSupported = 8
)

// The codes of an answer of version 4.
const (
	Granted4   = 90
	Rejected4  = 91
	NoIdent4   = 92 // the user's name could not be asked for
	WrongUser4 = 93 // the user's name is another one
)
