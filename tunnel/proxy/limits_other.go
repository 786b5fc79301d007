//go:build !unix

package proxy

// descriptorLimit returns 0: there is no limit.
func descriptorLimit() int { return 0 }

// descriptorsInUse returns 0: descriptors are not counted.
func descriptorsInUse() int { return 0 }

// maxDescriptors returns 0: descriptors are not counted.
func maxDescriptors() int { return 0 }
