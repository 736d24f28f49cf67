package muxconn

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
)

// ErrNoFamily says that the SFU has no media address of the family asked for.
var ErrNoFamily = errors.New("no media address of this family")

var (
	virtual4 = netip.MustParsePrefix("198.18.0.0/15")
	virtual6 = netip.MustParsePrefix("2001:2::/48")
)

// IsVirtual reports whether a is in the ranges of virtual peers.
func IsVirtual(a netip.Addr) bool {
	if a.Is4() {
		return virtual4.Contains(a)
	}
	return virtual6.Contains(a)
}

// route is an advertised address and the Conn it leads to.
type route struct {
	addr netip.AddrPort
	udp  *net.UDPAddr // the same; shared, never changed
	conn *Conn
}

// Group is the set of a server's media sockets, within which virtual peers
// reach any advertised address of their family.
type Group struct {
	conns   []*Conn
	routes  map[netip.AddrPort]*route // never changes after NewGroup
	packets *packetPool
	stats   counters

	mu    sync.RWMutex
	peers map[netip.AddrPort]*Peer // by virtual address
}

// NewGroup ties conns together. It must be called before any of them is read,
// and a Conn belongs to one Group only.
func NewGroup(conns ...*Conn) (*Group, error) {
	g := &Group{
		conns:   conns,
		routes:  make(map[netip.AddrPort]*route),
		packets: newPacketPool(),
		peers:   make(map[netip.AddrPort]*Peer),
	}
	for i, c := range conns {
		if c.group != nil {
			return nil, fmt.Errorf("media socket %s is in a group already", c.local)
		}
		for _, a := range c.adv {
			if other, taken := g.routes[a]; taken && other.conn != c {
				return nil, fmt.Errorf("media address %s leads to two sockets, %s and %s", a, other.conn.local, c.local)
			}
			if IsVirtual(a.Addr()) {
				return nil, fmt.Errorf("media address %s is in a range kept for virtual peers", a)
			}
			g.routes[a] = &route{addr: a, udp: net.UDPAddrFromAddrPort(a), conn: c}
		}
		c.group, c.index = g, i
	}
	return g, nil
}

// Conns returns the group's sockets.
func (g *Group) Conns() []*Conn { return slices.Clone(g.conns) }

// Advertised returns every media address, sorted.
func (g *Group) Advertised() []netip.AddrPort {
	all := make([]netip.AddrPort, 0, len(g.routes))
	for a := range g.routes {
		all = append(all, a)
	}
	slices.SortFunc(all, netip.AddrPort.Compare)
	return all
}

// OpenPeer opens a virtual peer. The network is "udp4" or "udp6"; ErrNoFamily
// is returned where the SFU has no media address of that family. Port is the
// port of its virtual address, which can always be had, or 0 for any. How many
// peers there may be is the caller's to limit.
func (g *Group) OpenPeer(network string, port uint16) (*Peer, error) {
	if !g.serves(network) {
		return nil, fmt.Errorf("open relay peer on %s: %w", network, ErrNoFamily)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	addr := pickVirtual(network, port)
	for g.peers[addr] != nil {
		addr = pickVirtual(network, port)
	}
	p := newPeer(g, addr)
	g.peers[addr] = p
	return p, nil
}

func (g *Group) serves(network string) bool {
	for a := range g.routes {
		if (network == "udp4" && a.Addr().Is4()) || (network == "udp6" && a.Addr().Is6()) {
			return true
		}
	}
	return false
}

// Peers returns how many virtual peers are open.
func (g *Group) Peers() int {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return len(g.peers)
}

// Stats returns the sum over the group's sockets and peers.
func (g *Group) Stats() Stats {
	sum := g.stats.snapshot()
	for _, c := range g.conns {
		sum.add(c.Stats())
	}
	return sum
}

func (g *Group) peer(a netip.AddrPort) *Peer {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.peers[a]
}

func (g *Group) remove(p *Peer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.peers, p.addr)
}

// pickVirtual draws a virtual address. The space is so much larger than the
// number of peers that an address practically never comes back while the ICE
// mux may still remember who had it before.
func pickVirtual(network string, port uint16) netip.AddrPort {
	if port == 0 {
		port = uint16(1024 + rand.N(65536-1024))
	}
	if network == "udp4" {
		host := 1 + rand.N(1<<17-2) // neither the first nor the last of the /15
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18 + byte(host>>16), byte(host >> 8), byte(host)}), port)
	}
	b := virtual6.Addr().As16()
	host := rand.Uint64()
	for i := range 8 {
		b[8+i] = byte(host >> (8 * i))
	}
	return netip.AddrPortFrom(netip.AddrFrom16(b), port)
}
