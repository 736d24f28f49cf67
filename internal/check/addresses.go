package check

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"consilium/internal/localaddr"
)

// addresses looks at what browsers will be offered, and at the names that lead
// here.
func (c *checker) addresses(ctx context.Context) []Finding {
	const check = "addresses"
	filter, err := c.cfg.Media.AddressFilter()
	if err != nil {
		return []Finding{failure(check, err.Error(), "correct the network")}
	}
	all, err := localaddr.Interfaces()
	if err != nil {
		return []Finding{failure(check, err.Error(), "run it on the machine that will serve")}
	}
	kept, _, err := localaddr.Select(all, filter)
	if err != nil {
		return []Finding{failure(check, err.Error(), "see media in config.example.yaml")}
	}
	for _, a := range kept {
		c.media = append(c.media, a.IP)
	}
	findings := []Finding{offered(c.media, c.cfg.Media.PublicAddresses)}
	for _, text := range c.cfg.Media.PublicAddresses {
		if a, err := netip.ParseAddr(text); err == nil {
			findings = append(findings, publicAddress(a.Unmap(), c.media))
		}
	}
	return append(findings, c.publicName(ctx)...)
}

// offered says which addresses media is offered on.
func offered(media []netip.Addr, public []string) Finding {
	const check = "addresses"
	words := "media is offered on " + joined(media)
	if len(public) > 0 {
		return ok(check, words+", seen from outside as "+strings.Join(public, ", "))
	}
	if !slices.ContainsFunc(media, func(a netip.Addr) bool { return reachable(a) }) {
		return ok(check, words+", none of which the internet can reach; for patients outside set media.public_addresses")
	}
	return ok(check, words)
}

// publicAddress judges one of media.public_addresses.
func publicAddress(a netip.Addr, media []netip.Addr) Finding {
	const check = "public address"
	switch {
	case slices.Contains(media, a):
		return ok(check, fmt.Sprintf("%s is this machine's own", a))
	case !reachable(a):
		return warning(check, fmt.Sprintf("%s can't be reached from the internet", a), "set media.public_addresses to what the outside sees, unless everybody is in that network")
	default:
		return ok(check, fmt.Sprintf("%s stands for an address of this machine; the router must forward the ports unchanged", a))
	}
}

// notPublic are the networks, beside the private ones, that nobody outside can
// reach (RFC 6890).
func notPublic() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"),
		netip.MustParsePrefix("100.64.0.0/10"), // behind the NAT of a provider
		netip.MustParsePrefix("192.0.2.0/24"),
		netip.MustParsePrefix("198.18.0.0/15"),
		netip.MustParsePrefix("198.51.100.0/24"),
		netip.MustParsePrefix("203.0.113.0/24"),
		netip.MustParsePrefix("240.0.0.0/4"),
		netip.MustParsePrefix("2001:db8::/32"),
	}
}

// reachable reports whether the internet can reach an address, as far as the
// address itself tells.
func reachable(a netip.Addr) bool {
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	return !slices.ContainsFunc(notPublic(), func(p netip.Prefix) bool { return p.Contains(a) })
}

// publicName looks up the host of http.public_url.
func (c *checker) publicName(ctx context.Context) []Finding {
	const check = "public name"
	host := c.cfg.HTTP.PublicHost()
	if host == "" {
		return nil
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(found) == 0 {
		return []Finding{warning(check, "this machine finds no address of "+host, "enter it into the DNS that browsers ask; in a closed network this machine may not need it")}
	}
	for i := range found {
		found[i] = found[i].Unmap()
	}
	slices.SortFunc(found, netip.Addr.Compare)
	return []Finding{ok(check, host+" is "+joined(slices.Compact(found)))}
}

func joined(all []netip.Addr) string {
	var words []string
	for _, a := range all {
		words = append(words, a.String())
	}
	return strings.Join(words, ", ")
}
