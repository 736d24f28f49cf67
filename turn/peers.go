package turn

import (
	"net"
	"net/netip"
)

// reach says whom allocations may talk to. TURN permissions are per IP, so
// there are two questions.
type reach interface {
	// mayPermit reports whether a client may have a permission for a peer's
	// IP, as it stood in the request.
	mayPermit(ip net.IP) bool
	// mayRelay reports whether datagrams may go to a peer.
	mayRelay(peer netip.AddrPort) bool
}

// mediaSet is the set of the SFU's media addresses: all that a closed relay
// reaches. It never changes.
type mediaSet struct {
	addrs map[netip.AddrPort]struct{}
	ips   map[netip.Addr]struct{}
}

func newMediaSet(list []netip.AddrPort) *mediaSet {
	m := &mediaSet{addrs: make(map[netip.AddrPort]struct{}), ips: make(map[netip.Addr]struct{})}
	for _, a := range list {
		ip := a.Addr().Unmap()
		m.addrs[netip.AddrPortFrom(ip, a.Port())] = struct{}{}
		m.ips[ip] = struct{}{}
	}
	return m
}

// mayRelay reports whether a is a media address. IPv4 addresses mapped into
// IPv6 count as what they map: Pion hands them over in either form.
func (m *mediaSet) mayRelay(a netip.AddrPort) bool {
	_, ok := m.addrs[netip.AddrPortFrom(a.Addr().Unmap(), a.Port())]
	return ok
}

// mayPermit reports whether there is a media address with this IP.
func (m *mediaSet) mayPermit(ip net.IP) bool {
	a, ok := netip.AddrFromSlice(ip)
	if !ok {
		return false
	}
	_, ok = m.ips[a.Unmap()]
	return ok
}
