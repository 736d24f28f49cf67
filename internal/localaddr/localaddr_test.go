package localaddr

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func machine() []Address {
	var all []Address
	for _, a := range [][2]string{
		{"lo", "127.0.0.1"}, {"lo", "::1"},
		{"eth0", "192.0.2.10"}, {"eth0", "2001:db8::10"}, {"eth0", "fe80::1"}, {"eth0", "fd00::10"},
		{"docker0", "172.17.0.1"}, {"eth1", "10.1.2.3"}, {"eth1", "169.254.3.4"},
	} {
		all = append(all, Address{Interface: a[0], IP: netip.MustParseAddr(a[1])})
	}
	return all
}

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func TestSelectKeepsWhatTheFilterAdmits(t *testing.T) {
	tests := map[string]struct {
		filter Filter
		want   []string
	}{
		"both families, no link-local, loopback or unique local": {
			Filter{IPv4: true, IPv6: true},
			[]string{"192.0.2.10", "2001:db8::10", "172.17.0.1", "10.1.2.3"}},
		"excluded by a pattern of names": {
			Filter{IPv4: true, ExcludeInterfaces: []string{"docker*", "eth1"}}, []string{"192.0.2.10"}},
		"included by a pattern of names": {
			Filter{IPv4: true, IncludeInterfaces: []string{"eth?"}}, []string{"192.0.2.10", "10.1.2.3"}},
		"exclusion wins over inclusion": {
			Filter{IPv4: true, IncludeInterfaces: []string{"eth?"}, ExcludeInterfaces: []string{"eth0"}}, []string{"10.1.2.3"}},
		"included by network": {
			Filter{IPv4: true, IPv6: true, IncludeNetworks: prefixes("10.0.0.0/8", "2001:db8::/32")}, []string{"2001:db8::10", "10.1.2.3"}},
		"excluded by network": {
			Filter{IPv4: true, ExcludeNetworks: prefixes("10.0.0.0/8", "172.16.0.0/12")}, []string{"192.0.2.10"}},
		"unique local in LAN mode":           {Filter{IPv6: true, LAN: true}, []string{"2001:db8::10", "fd00::10"}},
		"link-local not even when asked for": {Filter{IPv6: true, LAN: true, IncludeNetworks: prefixes("fe80::/10", "fd00::/8")}, []string{"fd00::10"}},
		"loopback for development":           {Filter{IPv4: true, IPv6: true, Loopback: true, IncludeInterfaces: []string{"lo"}}, []string{"127.0.0.1", "::1"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			kept, excluded, err := Select(machine(), tc.filter)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, a := range kept {
				got = append(got, a.IP.String())
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
			if len(kept)+len(excluded) != len(machine()) {
				t.Errorf("%d kept and %d excluded of %d", len(kept), len(excluded), len(machine()))
			}
			for _, x := range excluded {
				if x.Reason == "" {
					t.Errorf("%s excluded without a reason", x.IP)
				}
			}
		})
	}
}

func TestFilterThatLeavesNothingNamesTheKeysAndTheRemedy(t *testing.T) {
	_, _, err := Select(machine(), Filter{IPv4: true, ExcludeInterfaces: []string{"*"}})
	var empty *EmptyError
	if !errors.As(err, &empty) {
		t.Fatalf("got %v, want an EmptyError", err)
	}
	for _, want := range []string{"media.interfaces.include/exclude", "media.networks.include/exclude", "media.families",
		"media.lan", "relax", "192.0.2.10 on eth0: interface in media.interfaces.exclude"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("%q is more than one line", err)
	}
}

func TestUnusableFilterIsRefused(t *testing.T) {
	tests := map[string]struct {
		filter Filter
		says   string
	}{
		"no family":   {Filter{}, "media.families"},
		"bad pattern": {Filter{IPv4: true, IncludeInterfaces: []string{"eth["}}, "media.interfaces.include"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if _, _, err := Select(machine(), tc.filter); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v, want an error that names %s", err, tc.says)
			}
		})
	}
}

func TestAddressOnTwoInterfacesIsTakenOnce(t *testing.T) {
	ip := netip.MustParseAddr("192.0.2.1")
	kept, excluded, err := Select([]Address{{"bond0", ip}, {"eth0", ip}}, Filter{IPv4: true})
	if err != nil || len(kept) != 1 || len(excluded) != 1 {
		t.Errorf("kept %v, excluded %v, err %v", kept, excluded, err)
	}
}

func TestInterfacesListsLoopback(t *testing.T) {
	all, err := Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(all, func(a Address) bool { return a.IP == netip.MustParseAddr("127.0.0.1") }) {
		t.Errorf("127.0.0.1 is not among %v", all)
	}
}
