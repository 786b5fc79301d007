//go:build unix

package proxy

import "golang.org/x/sys/unix"

// descriptorLimit is how many descriptors the process may have; 0 = no limit to
// speak of. The Go runtime has raised the soft limit to the hard one at start.
func descriptorLimit() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur > 1<<24 {
		return 0
	}
	return int(limit.Cur)
}

// defaultMaxTunnels is what the descriptor limit carries at two descriptors a
// tunnel, less a reserve for listeners, logs, pipes in use and the connections
// that are being refused.
func defaultMaxTunnels() int {
	n := descriptorLimit()
	if n == 0 {
		return 1 << 20
	}
	return max(1, (n-n/20-64)/2)
}

// mostDescriptors is how many may be in use before connections are only taken
// to be refused; 0 = any number. The rest is for those, for targets, and for
// pipes.
func maxDescriptors() int {
	n := descriptorLimit()
	return max(0, n-n/100-16)
}
