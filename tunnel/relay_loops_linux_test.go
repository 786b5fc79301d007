package tunnel

// testLoops are shared by the contract's tests; TestMain closes them.
var testLoops relayLoops

// The contract's tests run over the event loops too. What is no plain socket
// goes to the goroutines, there as in serve.
func init() {
	relayStarters = append(relayStarters, struct {
		name  string
		start func(client, target relaySide, limits relayLimits, done func(relayResult)) runningRelay
	}{"loops", func(client, target relaySide, limits relayLimits, done func(relayResult)) runningRelay {
		if r, ok := testLoops.start(client, target, limits, done); ok {
			return r
		}
		return startChecking(client, target, limits, done)
	}})
}

func closeTestLoops() { testLoops.close() }
