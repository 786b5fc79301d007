//go:build !linux

package relay

// Loops relay on event loops where there are any: on Linux.
type Loops struct{}

func (*Loops) Start(_, _ Side, _ Limits, _ func(Result)) (Running, bool) {
	return nil, false
}

func (*Loops) Close() {}

func (*Loops) Run() {}

func (*Loops) IdleDescriptors() int { return 0 }
