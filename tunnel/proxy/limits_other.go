//go:build !unix

package proxy

// defaultMaxTunnels is a bound of memory here: there is no descriptor limit.
func defaultMaxTunnels() int { return 1 << 16 }

// maxDescriptors is 0: they are not counted.
func maxDescriptors() int { return 0 }
