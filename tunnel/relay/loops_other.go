//go:build !linux

package relay

// Loops are the event loops that relay between plain sockets. This system has none.
type Loops struct {
	// MaxPipes has no effect.
	MaxPipes int
}

// Start returns false: the tunnel is left for the function Start.
func (*Loops) Start(_, _ Side, _ Limits, _ func(Result)) (Running, bool) {
	return nil, false
}

// Close does nothing.
func (*Loops) Close() {}

// Run does nothing.
func (*Loops) Run() {}

// Descriptors returns 0.
func (*Loops) Descriptors() int { return 0 }

// IdleDescriptors returns 0.
func (*Loops) IdleDescriptors() int { return 0 }
