//go:build !linux

package tunnel

func pooledDescriptors() int { return 0 }
