//go:build !linux

package sock

import "net/netip"

// LeadsHere reports whether the system would deliver a connection to ap to this host
// itself.
func LeadsHere(ap netip.AddrPort) bool { return nearEndIsFar(ap) }
