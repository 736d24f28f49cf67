package turn

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	pion "github.com/pion/turn/v5"
)

// relay is an allocation's relayed transport address. It lets through what
// goes to the SFU's media addresses, within the account's bandwidth.
type relay struct {
	net.PacketConn
	srv     *Server
	labels  Allocations
	account *account // set by accounts.add

	permissions, channels atomic.Int32

	closeOnce sync.Once
	closeErr  error
	readDone  sync.Once
}

// WriteTo relays what the client sends.
func (r *relay) WriteTo(b []byte, to net.Addr) (int, error) {
	udp, ok := to.(*net.UDPAddr)
	if !ok || !r.srv.media.has(udp.AddrPort()) {
		r.srv.stats.dropped[dropNotMedia].Add(1)
		return len(b), nil
	}
	if !r.account.up.AllowN(time.Now(), len(b)) {
		r.srv.stats.dropped[dropBandwidth].Add(1)
		return len(b), nil
	}
	n, err := r.PacketConn.WriteTo(b, to)
	r.srv.stats.fromClient.Add(uint64(n))
	return n, err
}

// ReadFrom gives Pion what is to go to the client. Pion has one goroutine per
// allocation in it, which ends with the first error.
func (r *relay) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := r.PacketConn.ReadFrom(b)
		if err != nil {
			r.readDone.Do(r.srv.wg.Done)
			return n, from, err
		}
		if !r.account.down.AllowN(time.Now(), n) {
			r.srv.stats.dropped[dropBandwidth].Add(1)
			continue
		}
		r.srv.stats.toClient.Add(uint64(n))
		return n, from, nil
	}
}

// Close ends the allocation: Pion deletes it when its reader fails.
func (r *relay) Close() error {
	r.closeOnce.Do(func() {
		r.srv.accounts.remove(r)
		r.srv.stats.opened(r.labels, -1)
		r.closeErr = r.PacketConn.Close() // last: it lets the reader go
	})
	return r.closeErr
}

// generator is Pion's RelayAddressGenerator for the closed relay, one per
// transport of clients.
type generator struct {
	srv       *Server
	transport string // "udp" or "tcp"
}

var (
	errQuota    = errors.New("allocation quota reached")
	errTCPRelay = errors.New("TCP relaying (RFC 6062) is not offered")
	errRevoked  = errors.New("session has ended")
)

// Validate implements pion.RelayAddressGenerator.
func (g *generator) Validate() error { return nil }

// AllocatePacketConn opens a relay for an authenticated user. Pion answers 508
// to every error.
func (g *generator) AllocatePacketConn(cfg pion.AllocateListenerConfig) (net.PacketConn, net.Addr, error) {
	s := g.srv
	if cfg.UserID == "" {
		p := newProbe()
		return p, p.addr, nil
	}
	inner, err := s.cfg.OpenRelay(cfg.Network, uint16(cfg.RequestedPort))
	if err != nil {
		s.stats.denied[deniedFamily].Add(1)
		return nil, nil, err
	}
	r := &relay{PacketConn: inner, srv: s, labels: Allocations{Transport: g.transport, Family: "ipv4"}}
	if cfg.Network == "udp6" {
		r.labels.Family = "ipv6"
	}
	if why, ok := s.accounts.add(r, cfg.UserID, s.limitsOf(cfg.UserID), s.cfg.MaxAllocations); !ok {
		s.stats.denied[why].Add(1)
		_ = inner.Close()
		return nil, nil, errQuota
	}
	s.stats.opened(r.labels, +1)
	// The session may have ended, and Revoke have been called, since the
	// request was authenticated.
	if id, ok := strings.CutPrefix(cfg.UserID, sessionMark); ok && !s.cfg.Live(id) {
		s.stats.denied[deniedSession].Add(1)
		_ = r.Close()
		return nil, nil, errRevoked
	}
	s.wg.Add(1)
	return r, r.LocalAddr(), nil
}

// probe is what Pion gets when it looks for an even port (RFC 8656 section
// 7.2): it opens relays for nobody and closes them until one has an even port,
// and then asks for a relay with that port. Virtual addresses have every port
// free, so it is told a random even one.
type probe struct {
	net.PacketConn // nil: a probe is only closed
	addr           *net.UDPAddr
}

func newProbe() *probe {
	const first, pairs = 1024, (65536 - 1024) / 2
	return &probe{addr: &net.UDPAddr{IP: net.IPv4zero, Port: first + 2*rand.N(pairs)}}
}

// Close does nothing.
func (*probe) Close() error { return nil }

// AllocateListener refuses TCP allocations.
func (g *generator) AllocateListener(pion.AllocateListenerConfig) (net.Listener, net.Addr, error) {
	g.srv.stats.denied[deniedTCPRelay].Add(1)
	return nil, nil, errTCPRelay
}

// AllocateConn refuses to dial.
func (g *generator) AllocateConn(pion.AllocateConnConfig) (net.Conn, error) {
	g.srv.stats.denied[deniedTCPRelay].Add(1)
	return nil, errTCPRelay
}

// mediaSet is the set of the SFU's media addresses. It never changes.
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

// has reports whether a is a media address. IPv4 addresses mapped into IPv6
// count as what they map: Pion hands them over in either form.
func (m *mediaSet) has(a netip.AddrPort) bool {
	_, ok := m.addrs[netip.AddrPortFrom(a.Addr().Unmap(), a.Port())]
	return ok
}

func (m *mediaSet) hasIP(ip net.IP) bool {
	a, ok := netip.AddrFromSlice(ip)
	if !ok {
		return false
	}
	_, ok = m.ips[a.Unmap()]
	return ok
}
