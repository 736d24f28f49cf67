package server

import (
	"fmt"
	"net/netip"
	"slices"

	"consilium/internal/config"
	"consilium/internal/localaddr"
	"consilium/turn"
)

// openRelay is what the mode open of TURN needs to know; nil in mode closed.
func (s *Server) openRelay() (*turn.Open, error) {
	c := s.cfg.TURN
	if c.Mode != config.TURNOpen {
		return nil, nil
	}
	first, last, err := c.RelayPortRange()
	if err != nil {
		return nil, fmt.Errorf("turn.relay_ports: %w", err)
	}
	addresses, err := s.relayAddresses()
	if err != nil {
		return nil, err
	}
	allow, err := config.ParseNetworks("turn.allow_peers", c.AllowPeers)
	if err != nil {
		return nil, err
	}
	for _, a := range addresses {
		s.log.Info("TURN is open", "relay", a.Local, "public", a.Public, "ports", c.RelayPorts, "allow_peers", c.AllowPeers)
		if a.Public.IsPrivate() {
			s.log.Warn("relays are at a private address, where nobody outside of this network answers",
				"address", a.Public, "remedy", "set turn.relay_public_addresses to what the outside sees")
		}
	}
	return &turn.Open{
		Addresses: addresses, FirstPort: first, LastPort: last,
		AllowPeers: allow, Own: s.ownAddresses(addresses), Bound: s.mediaBound(),
	}, nil
}

// relayAddresses are turn.relay_addresses, or of each family the address of this
// machine that media.public_addresses stands for, or the first that is offered
// for media, loopback last.
func (s *Server) relayAddresses() ([]turn.RelayAddress, error) {
	local, err := parseAddresses("turn.relay_addresses", s.cfg.TURN.RelayAddresses)
	if err != nil {
		return nil, err
	}
	shown, err := parseAddresses("turn.relay_public_addresses", s.cfg.TURN.RelayPublicAddresses)
	if err != nil {
		return nil, err
	}
	if len(local) == 0 {
		for _, p := range s.network.public {
			local = append(local, p.Local)
		}
		byUse := slices.Clone(s.network.addresses)
		slices.SortStableFunc(byUse, func(a, b netip.Addr) int { return loopbackLast(a) - loopbackLast(b) })
		local = append(local, byUse...)
	}
	var all []turn.RelayAddress
	for _, a := range local {
		sameFamily := func(b netip.Addr) bool { return a.Is4() == b.Is4() }
		if slices.ContainsFunc(all, func(r turn.RelayAddress) bool { return sameFamily(r.Local) }) {
			continue
		}
		r := turn.RelayAddress{Local: a, Public: a}
		for _, p := range s.network.public {
			if p.Local == a {
				r.Public = p.Public
			}
		}
		if i := slices.IndexFunc(shown, sameFamily); i >= 0 {
			r.Public = shown[i]
		}
		all = append(all, r)
	}
	return all, nil
}

func loopbackLast(a netip.Addr) int {
	if a.IsLoopback() {
		return 1
	}
	return 0
}

func parseAddresses(key string, list []string) ([]netip.Addr, error) {
	var all []netip.Addr
	for _, text := range list {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		all = append(all, a)
	}
	return all, nil
}

// ownAddresses asks for all that leads to this machine: a peer behind one of
// them is a service of this machine, or of the router in front of it.
func (s *Server) ownAddresses(relays []turn.RelayAddress) func() ([]netip.Addr, error) {
	var outside []netip.Addr
	for _, p := range s.network.public {
		outside = append(outside, p.Public)
	}
	for _, r := range relays {
		outside = append(outside, r.Public)
	}
	return func() ([]netip.Addr, error) {
		interfaces, err := localaddr.Interfaces()
		if err != nil {
			return nil, err
		}
		all := slices.Clone(outside)
		for _, a := range interfaces {
			all = append(all, a.IP)
		}
		return all, nil
	}
}

// mediaBound tells where media sockets are that the outside sees elsewhere.
func (s *Server) mediaBound() map[netip.AddrPort]netip.AddrPort {
	bound := make(map[netip.AddrPort]netip.AddrPort)
	for _, conn := range s.network.media.Conns() {
		advertised := conn.Advertised()
		for _, a := range advertised[1:] {
			bound[a] = advertised[0]
		}
	}
	return bound
}
