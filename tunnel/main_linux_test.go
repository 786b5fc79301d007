package tunnel

// pooledDescriptors counts what the relays' pipes keep open on purpose.
func pooledDescriptors(loops *relayLoops) int {
	_, free := relayPipes.counts()
	if loops != nil && loops.loops != nil {
		_, idle := loops.loops.Pipes()
		free += idle
	}
	return 2 * free
}

// running is the server's loops, which would otherwise start with the first
// tunnel.
func running(s *Server) *relayLoops {
	s.run.loops.begin()
	return &s.run.loops
}
