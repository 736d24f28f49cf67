package muxconn

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

func TestPeerReachesAdvertisedAddressesOnly(t *testing.T) {
	outside := netip.MustParseAddrPort("203.0.113.7:443")
	c := listen(t, "127.0.0.1:0", Config{Advertise: []netip.AddrPort{outside}})
	g := group(t, c)
	p, other := openPeer(t, g, "udp4"), openPeer(t, g, "udp4")
	in := reads(t, c)

	sink, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	refused := []netip.AddrPort{
		sink.LocalAddr().(*net.UDPAddr).AddrPort(), // another port of this machine
		other.addr, // another client's relay
		netip.AddrPortFrom(c.local.Addr(), 53),
		netip.MustParseAddrPort("0.0.0.0:" + portOf(c)),
		netip.MustParseAddrPort("255.255.255.255:" + portOf(c)),
		netip.MustParseAddrPort("[::1]:" + portOf(c)),
		netip.MustParseAddrPort("169.254.169.254:80"),
	}
	for _, to := range refused {
		write(t, p, "no", to)
	}
	if got := g.Stats().DroppedNotSFU; got != uint64(len(refused)) {
		t.Errorf("%d drops counted, want %d", got, len(refused))
	}
	if err := sink.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, _, err := sink.ReadFrom(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("another port of this machine got %d bytes, %v", n, err)
	}

	write(t, p, "by the outside of the NAT", outside)
	if d := next(t, in); d.data != "by the outside of the NAT" {
		t.Fatalf("read %q", d.data)
	}
	if _, err := c.WriteToAddrPort([]byte("answer"), p.addr); err != nil {
		t.Fatal(err)
	}
	if _, from, err := p.ReadFrom(make([]byte, 10)); err != nil || from.String() != outside.String() {
		t.Errorf("the answer came from %v, %v; the peer wrote to %v", from, err, outside)
	}
	mapped := netip.AddrPortFrom(netip.AddrFrom16(c.local.Addr().As16()), c.local.Port())
	write(t, p, "as a mapped address", mapped)
	if d := next(t, in); d.data != "as a mapped address" {
		t.Errorf("read %q", d.data)
	}
}

func portOf(c *Conn) string {
	_, port, _ := net.SplitHostPort(c.local.String())
	return port
}

func TestVirtualAddressesAreRecognised(t *testing.T) {
	for _, a := range []string{"198.18.0.1", "198.19.255.254", "2001:2::1", "2001:2:0:ffff::1"} {
		if !IsVirtual(netip.MustParseAddr(a)) {
			t.Errorf("%s is not recognised as virtual", a)
		}
	}
	for _, a := range []string{"198.17.255.255", "198.20.0.0", "2001:2:1::", "2001:db8::1", "127.0.0.1"} {
		if IsVirtual(netip.MustParseAddr(a)) {
			t.Errorf("%s is taken for virtual", a)
		}
	}
	for range 10000 {
		for _, network := range []string{"udp4", "udp6"} {
			if a := pickVirtual(network, 0); !IsVirtual(a.Addr()) || a.Port() < 1024 {
				t.Fatalf("%v was drawn as a virtual address of %s", a, network)
			}
		}
	}
}

func TestPeerReachesEverySocketOfItsFamily(t *testing.T) {
	a, b := listen(t, "127.0.0.1:0", Config{}), listen(t, "127.0.0.2:0", Config{})
	g := group(t, a, b)
	p := openPeer(t, g, "udp4")
	fromA, fromB := reads(t, a), reads(t, b)
	write(t, p, "to a", a.local)
	write(t, p, "to b", b.local)
	if d := next(t, fromA); d.data != "to a" {
		t.Errorf("a read %q", d.data)
	}
	if d := next(t, fromB); d.data != "to b" {
		t.Errorf("b read %q", d.data)
	}
	if _, err := b.WriteToAddrPort([]byte("x"), p.addr); err != nil {
		t.Fatal(err)
	}
	if _, from, err := p.ReadFrom(make([]byte, 10)); err != nil || from.String() != b.local.String() {
		t.Errorf("answer of b came from %v, %v", from, err)
	}
	if _, err := g.OpenPeer("udp6", 0); !errors.Is(err, ErrNoFamily) {
		t.Errorf("IPv6 peer without IPv6 media: %v, want ErrNoFamily", err)
	}
}

func TestIPv6PeerReachesIPv6Socket(t *testing.T) {
	c, err := Listen(netip.MustParseAddrPort("[::1]:0"), Config{})
	if err != nil {
		t.Fatalf("this test needs IPv6 on loopback: %v", err)
	}
	p := openPeer(t, group(t, c), "udp6")
	in := reads(t, c)
	write(t, p, "six", c.local)
	if d := next(t, in); d.data != "six" || d.from != p.addr {
		t.Errorf("read %q from %v", d.data, d.from)
	}
}

func TestPeerGetsThePortItAsksFor(t *testing.T) {
	g := group(t, listen(t, "127.0.0.1:0", Config{}))
	seen := map[netip.AddrPort]bool{}
	for range 100 {
		p, err := g.OpenPeer("udp4", 5004)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if p.addr.Port() != 5004 || seen[p.addr] {
			t.Fatalf("got %v, which is wrong or taken", p.addr)
		}
		seen[p.addr] = true
	}
}

func TestUnusableAddressesAreRefused(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", "[::]:0", "192.0.2.1:0"} {
		if c, err := Listen(netip.MustParseAddrPort(addr), Config{}); err == nil {
			t.Errorf("listening on %s worked", addr)
			_ = c.Close()
		}
	}
	c := listen(t, "127.0.0.1:0", Config{})
	group(t, c)
	if _, err := NewGroup(c); err == nil {
		t.Error("a Conn was put in two groups")
	}
	d := listen(t, "127.0.0.1:0", Config{Advertise: []netip.AddrPort{netip.MustParseAddrPort("198.18.0.1:443")}})
	if _, err := NewGroup(d); err == nil {
		t.Error("a virtual address was advertised")
	}
	e := listen(t, "127.0.0.1:0", Config{Advertise: []netip.AddrPort{c.local}})
	f := listen(t, "127.0.0.1:0", Config{Advertise: []netip.AddrPort{c.local}})
	if _, err := NewGroup(e, f); err == nil {
		t.Error("one address was advertised for two sockets")
	}
}
