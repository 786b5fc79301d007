//go:build !linux

package tunnel

// relayLoops relay on event loops where there are any: on Linux.
type relayLoops struct{}

func (*relayLoops) start(_, _ relaySide, _ relayLimits, _ func(relayResult)) (runningRelay, bool) {
	return nil, false
}

func (*relayLoops) close() {}

func (*relayLoops) run() {}

func (*relayLoops) idleDescriptors() int { return 0 }
