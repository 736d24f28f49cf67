package turn

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// policy decides which IP addresses an open relay may reach. Its rules are for
// addresses that somebody else chose, in any form in which one address can be
// written as another: a list of what to deny has been got round in every
// server that had one, so what is not known to be public is denied.
type policy struct {
	allow    []netip.Prefix // opened by the operator
	special4 []netip.Prefix
	special6 []netip.Prefix
	own      ownAddresses
}

// newPolicy returns a policy. It asks own for the machine's addresses, and
// again while they are needed; the error is that of the first time.
func newPolicy(allow []netip.Prefix, own func() ([]netip.Addr, error)) (*policy, error) {
	p := &policy{allow: allow, special4: special4(), special6: special6(), own: ownAddresses{list: own}}
	return p, p.own.look(time.Now())
}

// allows reports whether an address may be a peer.
//
// What the operator opened goes before what is not public. This machine's own
// addresses are opened only by naming each: 10.0.0.0/8 means the network
// around it, not what listens on it.
func (p *policy) allows(ip netip.Addr) bool {
	if !ip.IsValid() || ip.Is4In6() || ip.Zone() != "" {
		return false
	}
	within := func(n netip.Prefix) bool { return n.Contains(ip) }
	if p.own.has(ip) {
		return slices.ContainsFunc(p.allow, func(n netip.Prefix) bool { return n.IsSingleIP() && n.Contains(ip) })
	}
	return slices.ContainsFunc(p.allow, within) || p.isPublic(ip)
}

// isPublic reports whether ip is a unicast address of the public internet, by
// the IANA special-purpose address registries (RFC 6890). Prefixes that hold an
// IPv4 address are denied whole: NAT64 (RFC 6052), 6to4 (RFC 3056), Teredo
// (RFC 4380), and mapped and compatible addresses (RFC 4291).
func (p *policy) isPublic(ip netip.Addr) bool {
	within := func(n netip.Prefix) bool { return n.Contains(ip) }
	if ip.Is4() {
		return !slices.ContainsFunc(p.special4, within)
	}
	globalUnicast := netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20}), 3) // 2000::/3: all of IPv6 that is assigned to hosts
	return globalUnicast.Contains(ip) && !slices.ContainsFunc(p.special6, within)
}

// prefix4 and prefix6 write prefixes that can't be wrong, and need no error.
func prefix4(a, b, c, d byte, bits int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{a, b, c, d}), bits)
}

func prefix6(a, b, c uint16, bits int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{
		byte(a >> 8), byte(a), byte(b >> 8), byte(b), byte(c >> 8), byte(c),
	}), bits)
}

func special4() []netip.Prefix {
	return []netip.Prefix{
		prefix4(0, 0, 0, 0, 8),        // this network: Linux takes 0.0.0.0 for itself
		prefix4(10, 0, 0, 0, 8),       // private
		prefix4(100, 64, 0, 0, 10),    // carrier-grade NAT
		prefix4(127, 0, 0, 0, 8),      // loopback
		prefix4(168, 63, 129, 16, 32), // public, but the host of virtual machines in Azure
		prefix4(169, 254, 0, 0, 16),   // link-local, and the metadata service of clouds
		prefix4(172, 16, 0, 0, 12),    // private
		prefix4(192, 0, 0, 0, 24),     // protocol assignments
		prefix4(192, 0, 2, 0, 24),     // documentation
		prefix4(192, 88, 99, 0, 24),   // 6to4 relays
		prefix4(192, 168, 0, 0, 16),   // private
		prefix4(198, 18, 0, 0, 15),    // benchmarking, and the closed relay's
		prefix4(198, 51, 100, 0, 24),  // documentation
		prefix4(203, 0, 113, 0, 24),   // documentation
		prefix4(224, 0, 0, 0, 4),      // multicast
		prefix4(240, 0, 0, 0, 4),      // reserved, and 255.255.255.255
	}
}

func special6() []netip.Prefix {
	return []netip.Prefix{
		prefix6(0x2001, 0, 0, 23),     // protocol assignments: Teredo, benchmarking, ORCHID
		prefix6(0x2001, 0xdb8, 0, 32), // documentation
		prefix6(0x2002, 0, 0, 16),     // 6to4
		prefix6(0x3fff, 0, 0, 20),     // documentation
	}
}

// ownTTL is how long what this machine's addresses were is taken for what they
// are.
const ownTTL = 5 * time.Second

// ownAddresses is the set of this machine's addresses, which may change while
// it runs.
type ownAddresses struct {
	list func() ([]netip.Addr, error)
	seen atomic.Pointer[ownSnapshot]
}

// ownSnapshot never changes.
type ownSnapshot struct {
	ips   map[netip.Addr]struct{}
	until time.Time
}

func (o *ownAddresses) has(ip netip.Addr) bool {
	if now := time.Now(); now.After(o.seen.Load().until) {
		_ = o.look(now)
	}
	_, ok := o.seen.Load().ips[ip]
	return ok
}

// look asks for the addresses. If that fails, those known before stay.
func (o *ownAddresses) look(now time.Time) error {
	next := &ownSnapshot{until: now.Add(ownTTL)}
	list, err := o.list()
	if before := o.seen.Load(); err != nil && before != nil {
		next.ips = before.ips
	} else {
		next.ips = make(map[netip.Addr]struct{}, len(list))
	}
	for _, ip := range list { // empty after an error
		next.ips[ip.Unmap().WithZone("")] = struct{}{}
	}
	o.seen.Store(next)
	return err
}
