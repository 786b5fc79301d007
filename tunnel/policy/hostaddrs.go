package policy

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// HostAddrs knows the addresses of this host's interfaces, as they were
// at most interfaceAddrsAge ago. The zero value is ready; it must not be
// copied. Safe for concurrent use.
type HostAddrs struct {
	list    func() ([]net.Addr, error) // nil = net.InterfaceAddrs
	refresh sync.Mutex
	last    atomic.Pointer[interfaceSnapshot]
}

type interfaceSnapshot struct {
	taken time.Time
	addrs map[netip.Addr]bool
}

// Reading the interfaces costs several system calls, too many per tunnel.
const interfaceAddrsAge = 5 * time.Second

// Contains reports whether addr is one of this host's. While the interfaces
// cannot be read, what was read last stays in force.
func (c *HostAddrs) Contains(addr netip.Addr) bool {
	snapshot := c.last.Load()
	if snapshot == nil || time.Since(snapshot.taken) >= interfaceAddrsAge {
		snapshot = c.read()
	}
	return snapshot.addrs[addr]
}

func (c *HostAddrs) read() *interfaceSnapshot {
	c.refresh.Lock()
	defer c.refresh.Unlock()
	old := c.last.Load()
	if old != nil && time.Since(old.taken) < interfaceAddrsAge {
		return old // someone else read while this one waited
	}
	list := c.list
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
	c.last.Store(fresh)
	return fresh
}
