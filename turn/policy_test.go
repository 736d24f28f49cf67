package turn

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"
)

func testPolicy(t *testing.T, own []string, allow ...string) *policy {
	t.Helper()
	var prefixes []netip.Prefix
	for _, text := range allow {
		prefixes = append(prefixes, netip.MustParsePrefix(text))
	}
	p, err := newPolicy(prefixes, func() (list []netip.Addr, _ error) {
		for _, text := range own {
			list = append(list, netip.MustParseAddr(text))
		}
		return list, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// notPublic are addresses that an open relay must not reach, first and last of
// their networks, and in the forms that hold an IPv4 address.
var notPublic = []string{
	"0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255", "127.0.0.1", "127.255.255.255",
	"168.63.129.16", "169.254.0.0", "169.254.169.254", "169.254.255.255", "172.16.0.0", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1",
	"192.168.0.0", "192.168.255.255", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.9",
	"224.0.0.1", "239.255.255.255", "240.0.0.0", "255.255.255.255",
	"::", "::1", "::7f00:1", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:8.8.8.8", "::ffff:0:8.8.8.8",
	"64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1", "100::1", "2001::1", "2001:0:7f00:1::", "2001:2::1", "2001:10::1",
	"2001:db8::1", "2002:7f00:1::1", "2002:a00:1::1", "2002:808:808::1", "3fff::1", "5f00::1",
	"fc00::1", "fd00:ec2::254", "fdff::1", "fe80::1", "fe80::1%eth0", "febf::1", "fec0::1", "ff02::1", "ff0e::1",
}

func TestOnlyPublicAddressesArePeers(t *testing.T) {
	p := testPolicy(t, nil)
	for _, text := range notPublic {
		if p.allows(netip.MustParseAddr(text)) {
			t.Errorf("%s is allowed", text)
		}
	}
	for _, text := range []string{
		"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.1",
		"168.63.129.15", "169.253.255.255", "172.15.255.255", "172.32.0.0", "192.167.1.1", "198.17.1.1", "198.20.0.0", "223.255.255.255",
		"2001:200::1", "2001:4860:4860::8888", "2606:4700:4700::1111", "2a00:1450::1", "3ffe::1",
	} {
		if !p.allows(netip.MustParseAddr(text)) {
			t.Errorf("%s is denied", text)
		}
	}
	if p.allows(netip.Addr{}) {
		t.Error("no address is allowed")
	}
}

func TestOpenedNetworksDoNotOpenThisMachine(t *testing.T) {
	p := testPolicy(t, []string{"10.0.0.5", "8.8.4.4", "fd00::5"}, "10.0.0.0/8", "fd00::/64", "192.168.7.7/32")
	for text, want := range map[string]bool{
		"10.0.0.6": true, "10.0.0.5": false, "192.168.7.7": true, "192.168.7.8": false, "8.8.8.8": true, "8.8.4.4": false,
		"fd00::6": true, "fd00::5": false, "fd00:1::6": false, "::ffff:10.0.0.6": false,
	} {
		if got := p.allows(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: allowed is %v, want %v", text, got, want)
		}
	}
	named := testPolicy(t, []string{"10.0.0.5"}, "10.0.0.5/32")
	if !named.allows(netip.MustParseAddr("10.0.0.5")) {
		t.Error("an own address is denied that the operator has named")
	}
}

func TestOwnAddressesAreLookedAtAgain(t *testing.T) {
	now, fails := "8.8.4.4", false
	o := &ownAddresses{list: func() ([]netip.Addr, error) {
		if fails {
			return nil, errors.New("no")
		}
		return []netip.Addr{netip.MustParseAddr(now)}, nil
	}}
	start := time.Now()
	if err := o.look(start); err != nil || !o.has(netip.MustParseAddr("8.8.4.4")) {
		t.Fatalf("the first look: %v", err)
	}
	now = "9.9.9.9"
	expired := *o.seen.Load()
	expired.until = start.Add(-time.Second)
	o.seen.Store(&expired)
	if !o.has(netip.MustParseAddr("9.9.9.9")) || o.has(netip.MustParseAddr("8.8.4.4")) {
		t.Error("an address that came is not seen, or one that went is")
	}
	fails = true
	if err := o.look(start); err == nil || !o.has(netip.MustParseAddr("9.9.9.9")) {
		t.Error("a look that fails forgets what was known")
	}
	if _, err := newPolicy(nil, o.list); err == nil {
		t.Error("a policy without this machine's addresses was made")
	}
}

func FuzzPolicy(f *testing.F) {
	for _, text := range notPublic {
		if a := netip.MustParseAddr(text); a.Zone() == "" {
			f.Add(a.AsSlice())
		}
	}
	p, err := newPolicy(nil, func() ([]netip.Addr, error) { return nil, nil })
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, ok := netip.AddrFromSlice(b)
		if !ok || !p.allows(a) {
			return
		}
		ip := net.IP(b)
		if ip.IsPrivate() || ip.IsLoopback() || ip.IsUnspecified() || ip.IsMulticast() || !ip.IsGlobalUnicast() || a.Is4In6() {
			t.Errorf("%s is allowed", a)
		}
	})
}
