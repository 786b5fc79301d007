//go:build unix

package tunnel

import "golang.org/x/sys/unix"

// defaultMaxTunnels is what the descriptor limit carries at two descriptors a
// tunnel, less a reserve for listeners, logs, pipes in use and the connections
// that are being refused. The Go runtime has raised the soft limit to the hard
// one at start.
func defaultMaxTunnels() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur > 1<<24 {
		return 1 << 20
	}
	n := int(limit.Cur)
	return max(1, (n-n/20-64)/2)
}
