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

// SOCKSStep is the purpose of a message to a SOCKS proxy.
type SOCKSStep string

// The steps, in order. Version 4a has only the last one.
const (
	SOCKSGreeting       SOCKSStep = "greeting"
	SOCKSAuthentication SOCKSStep = "authentication"
	SOCKSConnect        SOCKSStep = "connect"
)

// SOCKSMessage is one message to a SOCKS proxy and its answer, as far as it was read.
type SOCKSMessage struct {
	Hop      tunnel.Hop
	Step     SOCKSStep
	Next     tunnel.Authority // what the proxy is asked to connect to
	Sent     []byte           // in a login, *** replaces the password and its length
	Received []byte           // of a refusal without the address, which is not read
	Started  time.Time        // before the message was written
	Ended    time.Time        // after the answer was read, or could not be read
	Err      error            // why the handshake failed here, a *tunnel.Error; nil if it did not

	address netip.Addr // asked for; the zero Addr = the name is
	secret  []byte     // sent in place of Sent; nil = Sent is sent
}

// wire returns the message as it is sent, password included.
func (m *SOCKSMessage) wire() []byte {
	if m.secret != nil {
		return m.secret
	}
	return m.Sent
}

// Asks describes the message in a clause without control characters.
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

// Means describes the answer, or why there is none, in a clause without control
// characters.
func (m *SOCKSMessage) Means() string {
	if e, failed := m.Err.(*tunnel.Error); failed {
		return e.Cause() // which is escaped
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

// bound returns the address from which the proxy connected (RFC 1928, section 6); "" if
// the answer has none.
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
