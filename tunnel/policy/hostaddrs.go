package policy

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// HostAddrs is the set of the addresses of this host's interfaces. It is read from
// the system when it is used and kept for five seconds. The zero HostAddrs is
// ready to use and must not be copied afterwards. Its method is safe for
// concurrent use.
type HostAddrs struct {
	list    func() ([]net.Addr, error) // nil = net.InterfaceAddrs
	refresh sync.Mutex
	last    atomic.Pointer[interfaceSnapshot]
}

type interfaceSnapshot struct {
	taken time.Time
	addrs map[netip.Addr]bool
}

// interfaceAddrsAge is how long a snapshot is used. Reading the interfaces takes
// several system calls, too many for each tunnel.
const interfaceAddrsAge = 5 * time.Second

// Contains reports whether addr is an address of this host. If the interfaces
// cannot be read, the addresses that were read last remain in use.
func (h *HostAddrs) Contains(addr netip.Addr) bool {
	snapshot := h.last.Load()
	if snapshot == nil || time.Since(snapshot.taken) >= interfaceAddrsAge {
		snapshot = h.read()
	}
	return snapshot.addrs[addr]
}

func (h *HostAddrs) read() *interfaceSnapshot {
	h.refresh.Lock()
	defer h.refresh.Unlock()
	old := h.last.Load()
	if old != nil && time.Since(old.taken) < interfaceAddrsAge {
		return old // another goroutine read while this one waited for the lock
	}
	list := h.list
	if list == nil {
		list = net.InterfaceAddrs
	}
	fresh := &interfaceSnapshot{taken: time.Now()}
	if addrs, err := list(); err == nil {
		fresh.addrs = make(map[netip.Addr]bool, len(addrs))
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok {
				addr, _ := netip.AddrFromSlice(n.IP)
				fresh.addrs[addr.Unmap()] = true
			}
		}
	} else if old != nil {
		fresh.addrs = old.addrs
	}
	h.last.Store(fresh)
	return fresh
}
