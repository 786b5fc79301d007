// Package socks has constants for the messages of SOCKS version 5 (RFC 1928, RFC
// 1929) and version 4a. The client reads and writes them in package client, the server
// in package localport. It imports nothing.
package socks

// The first byte of a message: the version of the protocol.
const (
	Version5    = 5
	Version4    = 4
	AuthVersion = 1 // of the authentication by user name and password (RFC 1929)
)

// The authentication methods (RFC 1928, section 3).
const (
	NoAuth       = 0
	Password     = 2
	NoAcceptable = 0xff // the server accepts none of the offered methods
)

// MaxText is the length of the longest name, user name or password that version
// 5 can carry, in bytes.
const MaxText = 255

// Connect is the command CONNECT in both versions.
const Connect = 1

// The types of addresses (RFC 1928, section 5).
const (
	AddrIPv4 = 1
	AddrName = 3
	AddrIPv6 = 4
)

// The reply codes of version 5 (RFC 1928, section 6).
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

// The reply codes of version 4.
const (
	Granted4   = 90
	Rejected4  = 91
	NoIdent4   = 92 // the server found no identd on the client's host to ask for the user's name
	WrongUser4 = 93 // identd gave another user name than the request
)
