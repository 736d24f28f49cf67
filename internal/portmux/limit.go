package portmux

import (
	"net/netip"
	"sync"
)

// admission counts connections, in total and per address: per IPv4 address or
// IPv6 /64, for that is what one client has.
type admission struct {
	total, perAddress int

	mu    sync.Mutex
	count int
	by    map[netip.Addr]int
}

func newAdmission(total, perAddress int) *admission {
	return &admission{total: total, perAddress: perAddress, by: make(map[netip.Addr]int)}
}

// enter reports whether one more connection from a may come in. Each true must be
// followed by a leave.
func (u *admission) enter(a netip.Addr) bool {
	a = client(a)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.count >= u.total || u.by[a] >= u.perAddress {
		return false
	}
	u.count++
	u.by[a]++
	return true
}

func (u *admission) leave(a netip.Addr) {
	a = client(a)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.count--
	if u.by[a]--; u.by[a] == 0 {
		delete(u.by, a)
	}
}

func client(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}
