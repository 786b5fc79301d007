//go:build !linux && !darwin && !windows

package vanish

// SetOptions does nothing on this system.
func SetOptions(uintptr) error { return nil }
