package relay

// testLoops are shared by the contract's tests; TestMain closes them.
var testLoops Loops

// The contract's tests run over the event loops too. What is no plain socket
// goes to the goroutines, there as in serve.
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
