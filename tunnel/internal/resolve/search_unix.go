//go:build !windows

package resolve

import (
	"bufio"
	"os"
	"strconv"
	"strings"
)

// systemSearch reads the search list of /etc/resolv.conf, which may be another one at
// any time (resolv.conf(5)).
func systemSearch() searchList {
	return readSearch("/etc/resolv.conf", os.Hostname)
}

// readSearch reads the search list of a file. If that has none, it is the domain of the
// host's name.
func readSearch(path string, hostname func() (string, error)) searchList {
	list := searchList{ndots: 1}
	if file, err := os.Open(path); err == nil {
		defer file.Close()
		lines := bufio.NewScanner(file)
		for lines.Scan() {
			words := strings.Fields(lines.Text())
			switch {
			case len(words) < 2:
			case words[0] == "domain":
				list.domains = words[1:2]
			case words[0] == "search":
				list.domains = words[1:]
			case words[0] == "options":
				for _, option := range words[1:] {
					if n, ok := strings.CutPrefix(option, "ndots:"); ok {
						dots, _ := strconv.Atoi(n)
						list.ndots = max(0, dots)
					}
				}
			}
		}
	}
	if list.domains == nil {
		name, _ := hostname()
		if _, domain, ok := strings.Cut(name, "."); ok {
			list.domains = []string{domain}
		}
	}
	return list
}
