package config

import (
	"fmt"
	"net/netip"
	"slices"

	"consilium/internal/localaddr"
)

// AddressFilter says which of the machine's addresses media is offered on.
func (m Media) AddressFilter() (localaddr.Filter, error) {
	f := localaddr.Filter{
		IncludeInterfaces: m.Interfaces.Include, ExcludeInterfaces: m.Interfaces.Exclude,
		IPv4: slices.Contains(m.Families, "ipv4"), IPv6: slices.Contains(m.Families, "ipv6"),
		LAN: m.LAN, Loopback: m.Loopback,
	}
	var err error
	if f.IncludeNetworks, err = ParseNetworks("media.networks.include", m.Networks.Include); err != nil {
		return f, err
	}
	f.ExcludeNetworks, err = ParseNetworks("media.networks.exclude", m.Networks.Exclude)
	return f, err
}

// ParseNetworks reads the CIDRs of a key.
func ParseNetworks(key string, list []string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, text := range list {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		all = append(all, p)
	}
	return all, nil
}
