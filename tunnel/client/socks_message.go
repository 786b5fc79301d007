package client

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/internal/socks"
	"culvert/tunnel/internal/wire"
)

// SOCKSStep is what a message to a SOCKS proxy is for.
type SOCKSStep string

// The steps, in their order; version 4a has the last one only.
const (
	SOCKSGreeting       SOCKSStep = "greeting"
	SOCKSAuthentication SOCKSStep = "authentication"
	SOCKSConnect        SOCKSStep = "connect"
)

// SOCKSMessage is one message to a SOCKS proxy, and what was read of its answer.
type SOCKSMessage struct {
	Hop      tunnel.Hop
	Step     SOCKSStep
	Next     tunnel.Authority // what the hop is to open
	Sent     []byte           // in a login *** stands for the password and its length
	Received []byte           // a refusal's without the address in it, which is not read
	Started  time.Time        // before the message was written
	Ended    time.Time        // the answer was there, or it was certain that none comes
	Err      error            // why the way ends here, an *Error; nil if it goes on

	address netip.Addr // that is asked for; none = the name
	secret  []byte     // what is sent in place of Sent; nil = Sent is
}

// wire is what goes over the wire, password and all.
func (m *SOCKSMessage) wire() []byte {
	if m.secret != nil {
		return m.secret
	}
	return m.Sent
}

// Asks tells in a clause what the message says. It has no control character.
func (m *SOCKSMessage) Asks() string {
	switch m.Step {
	case SOCKSGreeting:
		if m.Hop.Credentials != nil {
			return "version 5, without a login or with a user name and a password"
		}
		return "version 5, without a login"
	case SOCKSAuthentication:
		return "the user name " + wire.Escape([]byte(m.Hop.Credentials.User), MaxDetail) + ", and the password"
	}
	what := "the name " + m.Next.Host()
	if m.address.IsValid() {
		what = m.address.String()
		if m.address != m.Next.Addr().Unmap() {
			what += ", which this machine found for " + m.Next.Host()
		}
	}
	if m.Hop.Scheme == tunnel.SchemeSOCKS4A {
		what = "version 4a, " + what
		if c := m.Hop.Credentials; c != nil {
			what += ", as user " + wire.Escape([]byte(c.User), MaxDetail)
		}
	}
	return fmt.Sprintf("%s, port %d", what, m.Next.Port())
}

// Means tells in a clause what the answer says, or why there is none. It has no
// control character.
func (m *SOCKSMessage) Means() string {
	if e, failed := m.Err.(*tunnel.Error); failed {
		return e.Cause() // escaped already
	}
	switch m.Step {
	case SOCKSGreeting:
		if m.Received[1] == socks.NoAuth {
			return "no login is wanted"
		}
		return "a user name and a password are wanted"
	case SOCKSAuthentication:
		return "accepted"
	}
	if from := m.bound(); from != "" {
		return "connected, from " + from
	}
	return "connected"
}

// bound is the address that the proxy connected from, if it tells (RFC 1928,
// section 6).
func (m *SOCKSMessage) bound() string {
	if len(m.Received) < 7 || m.Received[0] != socks.Version5 || m.Received[3] == socks.AddrName {
		return ""
	}
	end := len(m.Received) - 2
	address, _ := netip.AddrFromSlice(m.Received[4:end])
	if !address.IsValid() || address.IsUnspecified() {
		return ""
	}
	port := int(m.Received[end])<<8 | int(m.Received[end+1])
	return net.JoinHostPort(address.String(), strconv.Itoa(port))
}
