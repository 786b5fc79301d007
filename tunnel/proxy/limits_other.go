//go:build !unix

package proxy

// defaultMaxTunnels returns a bound for memory's sake: there is no descriptor limit.
func defaultMaxTunnels() int { return 1 << 16 }

// maxDescriptors returns 0: descriptors are not counted.
func maxDescriptors() int { return 0 }
