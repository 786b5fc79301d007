package client

import (
	"fmt"
	"sync"

	"culvert/tunnel"
)

// loginMemory holds the schemes by which tunnels were opened, so that further tunnels
// begin with them and need no 407 to learn what the proxy wants.
type loginMemory struct {
	mu    sync.Mutex
	known map[string]loginScheme // by memoryKey; guarded by mu
}

// memoryKey returns a key for the login at a hop. It differs for other credentials. It
// holds a password, so it must never be shown.
func (c *Client) memoryKey(hop tunnel.Hop) string {
	key := c.Auth + " " + hop.String()
	if hop.Credentials != nil {
		key += fmt.Sprintf(" %q %q", hop.Credentials.User, hop.Credentials.Password)
	}
	return key
}

// recall returns the scheme to begin with; nil = none is known.
func (m *loginMemory) recall(key string) loginScheme {
	m.mu.Lock()
	defer m.mu.Unlock()
	if known := m.known[key]; known != nil {
		return known.again()
	}
	return nil
}

// remember sets the scheme to begin with; nil = forget it.
func (m *loginMemory) remember(key string, scheme loginScheme) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if scheme == nil {
		delete(m.known, key)
		return
	}
	if m.known == nil {
		m.known = make(map[string]loginScheme)
	}
	m.known[key] = scheme
}
