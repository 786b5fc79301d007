//go:build !linux

package tunnel

func pooledDescriptors(*relayLoops) int { return 0 }

func closeTestLoops() {}

func running(s *Server) *relayLoops { return &s.run.loops }
