package localaddr

import (
	"fmt"
	"net/netip"
	"slices"
)

// Public is an address that the outside sees, and the address of this machine
// that it leads to. They are equal when the machine has the public one itself.
type Public struct{ Local, Public netip.Addr }

// Pair finds the local address behind each public one [media.public_addresses]:
// itself if the machine has it, or else the first of its family that no other
// public address stands for, loopback last. It fails when there is none left.
func Pair(public, local []netip.Addr) ([]Public, error) {
	free := slices.Clone(local)
	take := func(a netip.Addr) { free = slices.DeleteFunc(free, func(b netip.Addr) bool { return a == b }) }
	pairs := make([]Public, len(public))
	for i, p := range public {
		if p = p.Unmap(); slices.Contains(free, p) {
			pairs[i] = Public{Local: p, Public: p}
			take(p)
		}
	}
	for i, p := range public {
		if p = p.Unmap(); pairs[i].Local.IsValid() {
			continue
		}
		same := slices.DeleteFunc(slices.Clone(free), func(a netip.Addr) bool { return a.Is4() != p.Is4() })
		if len(same) == 0 {
			return nil, fmt.Errorf("media.public_addresses: this machine has no address left for %s: "+
				"list at most as many of a family as media.interfaces, media.networks and media.families leave", p)
		}
		at := max(0, slices.IndexFunc(same, func(a netip.Addr) bool { return !a.IsLoopback() }))
		pairs[i] = Public{Local: same[at], Public: p}
		take(same[at])
	}
	return pairs, nil
}
