package localaddr

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func addresses(list ...string) []netip.Addr {
	var all []netip.Addr
	for _, s := range list {
		all = append(all, netip.MustParseAddr(s))
	}
	return all
}

func TestEachPublicAddressStandsForOneOfTheMachine(t *testing.T) {
	for name, c := range map[string]struct{ public, local, want []netip.Addr }{
		"1:1 NAT":                     {addresses("203.0.113.5"), addresses("10.0.0.5"), addresses("10.0.0.5")},
		"loopback last":               {addresses("203.0.113.5"), addresses("127.0.0.1", "10.0.0.5"), addresses("10.0.0.5")},
		"by family":                   {addresses("2001:db8::5", "203.0.113.5"), addresses("10.0.0.5", "fd00::5"), addresses("fd00::5", "10.0.0.5")},
		"the machine has it itself":   {addresses("203.0.113.5"), addresses("10.0.0.5", "203.0.113.5"), addresses("203.0.113.5")},
		"nobody takes what is public": {addresses("198.51.100.7", "203.0.113.5"), addresses("203.0.113.5", "10.0.0.5"), addresses("10.0.0.5", "203.0.113.5")},
		"mapped into IPv6":            {addresses("::ffff:203.0.113.5"), addresses("10.0.0.5"), addresses("10.0.0.5")},
		"none":                        {nil, addresses("10.0.0.5"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			pairs, err := Pair(c.public, c.local)
			if err != nil {
				t.Fatal(err)
			}
			var got []netip.Addr
			for i, p := range pairs {
				got = append(got, p.Local)
				if p.Public != c.public[i].Unmap() {
					t.Errorf("pair %d is of %s, want %s", i, p.Public, c.public[i])
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("local addresses %v, want %v", got, c.want)
			}
		})
	}
}

func TestPublicAddressWithoutALocalOneNamesTheRemedy(t *testing.T) {
	for name, c := range map[string]struct{ public, local []netip.Addr }{
		"more than the machine has": {addresses("203.0.113.5", "203.0.113.6"), addresses("10.0.0.5")},
		"of another family":         {addresses("2001:db8::5"), addresses("10.0.0.5")},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Pair(c.public, c.local)
			if err == nil || !strings.Contains(err.Error(), "media.public_addresses") || !strings.Contains(err.Error(), "list at most") {
				t.Errorf("got %v, want an error with key and remedy", err)
			}
		})
	}
}
