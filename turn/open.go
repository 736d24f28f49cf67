package turn

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
)

// Open configures an open relay: allocations get UDP ports of this machine, and
// reach everybody but whom a relay must not reach, which is whatever is not a
// public address.
type Open struct {
	// Addresses are where relay ports are opened, one a family at most.
	Addresses []RelayAddress
	// FirstPort and LastPort are the range of relay ports.
	FirstPort, LastPort uint16
	// AllowPeers opens networks that are not public. One of this machine's own
	// addresses is opened only by a prefix of that single address.
	AllowPeers []netip.Prefix
	// Own returns the addresses that lead to this machine: those of its
	// interfaces and, if they are known, those outside of a NAT. It is asked
	// every few seconds, from any goroutine.
	Own func() ([]netip.Addr, error)
	// Bound tells where the sockets of Config.Media are: what is sent to an
	// address outside of a NAT goes to the one inside, without a router that
	// would have to turn it round. An address that is missing is its own.
	Bound map[netip.AddrPort]netip.AddrPort
}

// RelayAddress is where relay ports are opened, and what clients are told that
// it is, which differs behind a NAT. The zero Public is Local.
type RelayAddress struct{ Local, Public netip.Addr }

func (o *Open) check() error {
	if len(o.Addresses) == 0 {
		return errors.New("turn: an open relay needs an address for its ports")
	}
	seen := map[bool]bool{}
	for _, a := range o.Addresses {
		switch {
		case !a.Local.IsValid() || a.Local.IsUnspecified() || a.Local.Is4In6():
			return fmt.Errorf("turn: relay address %s is not one address of this machine", a.Local)
		case a.Public.IsValid() && a.Public.Is4() != a.Local.Is4():
			return fmt.Errorf("turn: relay address %s and its public one, %s, are of two families", a.Local, a.Public)
		case seen[a.Local.Is4()]:
			return fmt.Errorf("turn: relay address %s is the second of its family", a.Local)
		}
		seen[a.Local.Is4()] = true
	}
	if o.FirstPort == 0 || o.LastPort <= o.FirstPort {
		return fmt.Errorf("turn: relay ports %d to %d are not a range", o.FirstPort, o.LastPort)
	}
	if o.Own == nil {
		return errors.New("turn: an open relay must know this machine's addresses")
	}
	return nil
}

var (
	errNoFamily = errors.New("no relay address of this family")
	errNoPort   = errors.New("no relay port is free")
)

// openRelay opens relay sockets and says whom they may talk to.
//
// A relay also reaches the SFU and the other relays here, though they are on
// this machine's own addresses: by IP and port, and only while there is one.
type openRelay struct {
	cfg    Open
	media  *mediaSet
	policy *policy
	stats  *counters

	mu   sync.RWMutex
	open map[netip.AddrPort]struct{} // local addresses of relay sockets
}

func newOpenRelay(cfg Open, media *mediaSet, stats *counters) (*openRelay, error) {
	for i, a := range cfg.Addresses {
		if !a.Public.IsValid() {
			cfg.Addresses[i].Public = a.Local
		}
	}
	p, err := newPolicy(cfg.AllowPeers, cfg.Own)
	if err != nil {
		return nil, fmt.Errorf("turn: addresses of this machine: %w", err)
	}
	return &openRelay{cfg: cfg, media: media, policy: p, stats: stats, open: make(map[netip.AddrPort]struct{})}, nil
}

func (o *openRelay) mayPermit(ip net.IP) bool {
	a, ok := netip.AddrFromSlice(ip)
	if !ok || a.Is4In6() {
		return false
	}
	for _, r := range o.cfg.Addresses {
		if a == r.Public {
			return true // for the ports of other relays, see mayRelay
		}
	}
	return o.media.mayPermit(ip) || o.policy.allows(a)
}

func (o *openRelay) mayRelay(peer netip.AddrPort) bool {
	_, inside := o.inside(peer)
	return inside || peer.Port() != 0 && o.policy.allows(peer.Addr())
}

// inside returns the local address of a peer that is the SFU or a relay; ok is
// false for all others.
func (o *openRelay) inside(peer netip.AddrPort) (local netip.AddrPort, ok bool) {
	if o.media.mayRelay(peer) && !peer.Addr().Is4In6() {
		if bound, ok := o.cfg.Bound[peer]; ok {
			return bound, true
		}
		return peer, true
	}
	for _, r := range o.cfg.Addresses {
		if peer.Addr() == r.Public {
			local = netip.AddrPortFrom(r.Local, peer.Port())
			return local, o.isOpen(local)
		}
	}
	return netip.AddrPort{}, false
}

// relayed returns the relayed address of a relay's local one; ok is false if
// there is no such relay.
func (o *openRelay) relayed(local netip.AddrPort) (netip.AddrPort, bool) {
	for _, r := range o.cfg.Addresses {
		if local.Addr() == r.Local && o.isOpen(local) {
			return netip.AddrPortFrom(r.Public, local.Port()), true
		}
	}
	return netip.AddrPort{}, false
}

func (o *openRelay) isOpen(local netip.AddrPort) bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	_, ok := o.open[local]
	return ok
}

// listen opens a relay socket and returns it with its relayed address; network
// is "udp4" or "udp6", port the one it must have, or 0.
func (o *openRelay) listen(network string, port uint16) (*relaySocket, netip.AddrPort, error) {
	for _, r := range o.cfg.Addresses {
		if r.Local.Is4() != (network == "udp4") {
			continue
		}
		s, err := o.listenOn(r.Local, port)
		if err != nil {
			return nil, netip.AddrPort{}, fmt.Errorf("open relay port on %s: %w", r.Local, err)
		}
		return s, netip.AddrPortFrom(r.Public, s.local.Port()), nil
	}
	return nil, netip.AddrPort{}, errNoFamily
}

// listenOn opens a port: any of the range, from a random one on, since relayed
// addresses should not be guessable (RFC 8656 section 7.2). An even port asked
// for is a wish for an even one, with the next free as far as relays go; an odd
// one is the second of a pair, and no other will do.
func (o *openRelay) listenOn(ip netip.Addr, port uint16) (*relaySocket, error) {
	first, last := int(o.cfg.FirstPort), int(o.cfg.LastPort)
	step := 1
	switch {
	case port != 0 && (int(port) < first || int(port) > last):
		return nil, errNoPort
	case port%2 == 1:
		return o.try(netip.AddrPortFrom(ip, port))
	case port != 0:
		step = 2
		first += first % 2
		last-- // of a pair
	}
	tries := (last - first + step) / step
	if tries <= 0 {
		return nil, errNoPort
	}
	start := rand.N(tries)
	for i := range tries {
		local := netip.AddrPortFrom(ip, uint16(first+(start+i)%tries*step))
		next := netip.AddrPortFrom(ip, local.Port()+1)
		if o.isOpen(local) || step == 2 && o.isOpen(next) {
			continue
		}
		s, err := o.try(local)
		if err == nil || !isTaken(err) {
			return s, err
		}
	}
	return nil, errNoPort
}

func (o *openRelay) try(local netip.AddrPort) (*relaySocket, error) {
	conn, err := listenRelay(local)
	if err != nil {
		return nil, err
	}
	s := &relaySocket{UDPConn: conn, relay: o, local: local, asked: make(map[netip.AddrPort]netip.AddrPort)}
	o.mu.Lock()
	o.open[local] = struct{}{}
	o.mu.Unlock()
	return s, nil
}

func (o *openRelay) closed(local netip.AddrPort) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.open, local)
}
