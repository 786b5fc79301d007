package relay

// testLoops are shared by the tests of the rules. TestMain closes them.
var testLoops Loops

// The tests of the rules run with the event loops too. Connections that the loops do
// not take are relayed by goroutines, as in serve.
func init() {
	relayStarters = append(relayStarters, struct {
		name  string
		start func(client, target Side, limits Limits, done func(Result)) Running
	}{"loops", func(client, target Side, limits Limits, done func(Result)) Running {
		if r, ok := testLoops.Start(client, target, limits, done); ok {
			return r
		}
		return startChecking(client, target, limits, done)
	}})
}

func closeTestLoops() { testLoops.Close() }
