//go:build unix

package proxy

import (
	"os"

	"golang.org/x/sys/unix"
)

// descriptorLimit returns how many descriptors the process may have; 0 = no limit
// that matters. The Go runtime has raised the soft limit to the hard one.
func descriptorLimit() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur > 1<<24 {
		return 0
	}
	return int(limit.Cur)
}

// descriptorsInUse returns how many descriptors the process has open.
func descriptorsInUse() int {
	for _, folder := range []string{"/proc/self/fd", "/dev/fd"} {
		if d, err := os.Open(folder); err == nil {
			names, err := d.Readdirnames(-1)
			d.Close()
			if err == nil {
				return max(0, len(names)-1) // without d
			}
		}
	}
	const usual = 16
	return usual
}

// maxDescriptors returns how many descriptors may be in use before connections are
// accepted only to be refused, whatever holds them; 0 = any number. The rest is for
// those connections, for targets and for pipes.
func maxDescriptors() int {
	n := descriptorLimit()
	return max(0, n-min(n/100+16, n/8))
}
