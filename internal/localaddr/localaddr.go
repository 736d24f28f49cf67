// Package localaddr chooses the addresses of this machine on which media is
// offered: by interface name, network and family, with a reason for each
// address left out. A choice that leaves nothing is an error that says what to
// change, never a silent fallback.
//
// The package is a leaf: it imports nothing of ours.
package localaddr

import (
	"fmt"
	"net"
	"net/netip"
	"path"
	"slices"
	"strings"
)

// Filter says which addresses are wanted. In each pair of lists an empty
// Include admits everything, and Exclude wins. The names in brackets are the
// keys of the configuration.
type Filter struct {
	// Interface names with * and ? [media.interfaces.include, .exclude].
	IncludeInterfaces, ExcludeInterfaces []string
	// Networks [media.networks.include, .exclude].
	IncludeNetworks, ExcludeNetworks []netip.Prefix
	// IPv4 and IPv6 say which families are wanted [media.families].
	IPv4, IPv6 bool
	// LAN admits IPv6 unique local addresses, RFC 4193 [media.lan].
	LAN bool
	// Loopback admits loopback addresses: for development and tests.
	Loopback bool
}

// Address is an address and the interface it is on.
type Address struct {
	Interface string
	IP        netip.Addr
}

// Excluded is an address that was left out, and why, in words for a log.
type Excluded struct {
	Address
	Reason string
}

// Interfaces lists the addresses of this machine's interfaces that are up.
func Interfaces() ([]Address, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list network interfaces: %w", err)
	}
	var all []Address
	for _, ifc := range interfaces {
		if ifc.Flags&net.FlagUp == 0 {
			continue
		}
		addrs, err := ifc.Addrs()
		if err != nil {
			return nil, fmt.Errorf("list addresses of %s: %w", ifc.Name, err)
		}
		for _, a := range addrs {
			if ipnet, ok := a.(*net.IPNet); ok {
				if ip, ok := netip.AddrFromSlice(ipnet.IP); ok {
					all = append(all, Address{Interface: ifc.Name, IP: ip.Unmap()})
				}
			}
		}
	}
	return all, nil
}

// Select applies f to all, keeping their order, and says what it left out. It
// fails if nothing is left or f can't be used.
func Select(all []Address, f Filter) ([]Address, []Excluded, error) {
	if err := f.check(); err != nil {
		return nil, nil, err
	}
	var kept []Address
	var out []Excluded
	for _, a := range all {
		switch reason := f.reject(a); {
		case reason != "":
			out = append(out, Excluded{Address: a, Reason: reason})
		case slices.ContainsFunc(kept, func(k Address) bool { return k.IP == a.IP }):
			out = append(out, Excluded{Address: a, Reason: "already taken from another interface"})
		default:
			kept = append(kept, a)
		}
	}
	if len(kept) == 0 {
		return nil, out, &EmptyError{Excluded: out}
	}
	return kept, out, nil
}

// EmptyError says that a filter left no address.
type EmptyError struct{ Excluded []Excluded }

// Error names what was left out, the keys that decide and the remedy, in one
// line.
func (e *EmptyError) Error() string {
	const most = 8
	var why []string
	for i, x := range e.Excluded {
		if i == most {
			why = append(why, fmt.Sprintf("and %d more", len(e.Excluded)-most))
			break
		}
		why = append(why, fmt.Sprintf("%s on %s: %s", x.IP, x.Interface, x.Reason))
	}
	if len(why) == 0 {
		why = append(why, "no interface that is up has an address")
	}
	return "no address left to offer media on (" + strings.Join(why, "; ") + "); " +
		"relax media.interfaces.include/exclude, media.networks.include/exclude, media.families or media.lan " +
		"so that one address of this machine remains"
}

// check finds patterns that would never match.
func (f Filter) check() error {
	for key, list := range map[string][]string{
		"media.interfaces.include": f.IncludeInterfaces,
		"media.interfaces.exclude": f.ExcludeInterfaces,
	} {
		for _, pattern := range list {
			if _, err := path.Match(pattern, ""); err != nil {
				return fmt.Errorf("%s: %q is not a pattern of names: %w", key, pattern, err)
			}
		}
	}
	if !f.IPv4 && !f.IPv6 {
		return fmt.Errorf("media.families: neither ipv4 nor ipv6; name at least one")
	}
	return nil
}

// reject returns why a is not wanted, or "".
func (f Filter) reject(a Address) string {
	switch ip := a.IP; {
	case ip.IsUnspecified() || ip.IsMulticast():
		return "not an address of a host"
	case ip.IsLinkLocalUnicast():
		return "link-local"
	case ip.IsLoopback() && !f.Loopback:
		return "loopback"
	case ip.Is4() && !f.IPv4:
		return "media.families has no ipv4"
	case ip.Is6() && !f.IPv6:
		return "media.families has no ipv6"
	case ip.Is6() && ip.IsPrivate() && !f.LAN:
		return "IPv6 unique local, and media.lan is off"
	}
	if len(f.IncludeInterfaces) > 0 && !matchAny(f.IncludeInterfaces, a.Interface) {
		return "interface not in media.interfaces.include"
	}
	if matchAny(f.ExcludeInterfaces, a.Interface) {
		return "interface in media.interfaces.exclude"
	}
	if len(f.IncludeNetworks) > 0 && !containsAny(f.IncludeNetworks, a.IP) {
		return "not in media.networks.include"
	}
	if containsAny(f.ExcludeNetworks, a.IP) {
		return "in media.networks.exclude"
	}
	return ""
}

func matchAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, name)
		return err == nil && ok
	})
}

func containsAny(networks []netip.Prefix, ip netip.Addr) bool {
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(ip) })
}
