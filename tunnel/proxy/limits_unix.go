//go:build unix

package proxy

import "golang.org/x/sys/unix"

// descriptorLimit returns how many descriptors the process may have; 0 = no limit
// that matters. The Go runtime has raised the soft limit to the hard one.
func descriptorLimit() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur > 1<<24 {
		return 0
	}
	return int(limit.Cur)
}

// defaultMaxTunnels returns how many tunnels the descriptor limit allows, at two
// descriptors each and with a reserve for listeners, logs, pipes and connections
// that are being refused.
func defaultMaxTunnels() int {
	n := descriptorLimit()
	if n == 0 {
		return 1 << 20
	}
	return max(1, (n-n/20-64)/2)
}

// maxDescriptors returns how many descriptors may be in use before connections are
// accepted only to be refused; 0 = any number. The rest is for those connections,
// for targets and for pipes.
func maxDescriptors() int {
	n := descriptorLimit()
	return max(0, n-n/100-16)
}
