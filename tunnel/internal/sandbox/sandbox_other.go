//go:build !linux

package sandbox

// Apply does nothing on this system.
func Apply(_, _ []string) (Status, error) { return Status{}, nil }
