package muxconn

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/pion/ice/v4"
)

// The mux uses the allocation-free path only if this holds.
var _ ice.AddrPortReaderWriter = (*Conn)(nil)

func listen(t *testing.T, addr string, cfg Config) *Conn {
	t.Helper()
	c, err := Listen(netip.MustParseAddrPort(addr), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func group(t *testing.T, conns ...*Conn) *Group {
	t.Helper()
	g, err := NewGroup(conns...)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func openPeer(t *testing.T, g *Group, network string) *Peer {
	t.Helper()
	p, err := g.OpenPeer(network, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

type datagram struct {
	data string
	from netip.AddrPort
}

// reads starts the Conn's one reader and returns what it reads.
func reads(t *testing.T, c *Conn) <-chan datagram {
	t.Helper()
	out := make(chan datagram, 4096)
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := c.ReadFromAddrPort(buf)
			if err != nil {
				close(out)
				return
			}
			out <- datagram{string(buf[:n]), from}
		}
	})
	t.Cleanup(func() { _ = c.Close(); wg.Wait() })
	return out
}

func next(t *testing.T, in <-chan datagram) datagram {
	t.Helper()
	select {
	case d := <-in:
		return d
	case <-time.After(5 * time.Second):
		t.Fatal("nothing was read")
		return datagram{}
	}
}

func write(t *testing.T, c net.PacketConn, data string, to netip.AddrPort) {
	t.Helper()
	if _, err := c.WriteTo([]byte(data), net.UDPAddrFromAddrPort(to)); err != nil {
		t.Fatal(err)
	}
}

func TestPeerAndSocketShareOneReader(t *testing.T) {
	c := listen(t, "127.0.0.1:0", Config{})
	p := openPeer(t, group(t, c), "udp4")
	in := reads(t, c)

	write(t, p, "by relay", c.local)
	if d := next(t, in); d.data != "by relay" || d.from != p.addr || !IsVirtual(d.from.Addr()) {
		t.Errorf("read %q from %v, want what the peer sent from its virtual address %v", d.data, d.from, p.addr)
	}

	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	write(t, socket, "directly", c.local)
	if d := next(t, in); d.data != "directly" || d.from != socket.LocalAddr().(*net.UDPAddr).AddrPort() {
		t.Errorf("read %q from %v", d.data, d.from)
	}

	if _, err := c.WriteToAddrPort([]byte("answer"), p.addr); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, from, err := p.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "answer" || from.String() != c.local.String() {
		t.Errorf("peer read %q from %v, %v", buf[:n], from, err)
	}
}

func TestParkedReaderIsWokenEveryTime(t *testing.T) {
	c := listen(t, "127.0.0.1:0", Config{})
	p := openPeer(t, group(t, c), "udp4")
	in := reads(t, c)
	for range 5000 { // one at a time, so that the reader parks before each
		write(t, p, "x", c.local)
		next(t, in)
	}
}

func TestNothingIsLostWhenPeersAndSocketWriteAtOnce(t *testing.T) {
	c := listen(t, "127.0.0.1:0", Config{Queue: 8192})
	g := group(t, c)
	const peers, each = 4, 500
	in := reads(t, c)
	var wg sync.WaitGroup
	for range peers {
		p := openPeer(t, g, "udp4")
		wg.Go(func() {
			for range each {
				_, _ = p.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(c.local))
			}
		})
	}
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	wg.Go(func() {
		for range each / 5 {
			_, _ = socket.WriteTo([]byte("y"), net.UDPAddrFromAddrPort(c.local))
		}
	})
	for range peers*each + each/5 {
		next(t, in)
	}
	wg.Wait()
}

func TestFloodThroughTheRelayDoesNotStarveTheSocket(t *testing.T) {
	c := listen(t, "127.0.0.1:0", Config{})
	p := openPeer(t, group(t, c), "udp4")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = p.WriteTo([]byte("flood"), net.UDPAddrFromAddrPort(c.local))
			}
		}
	})
	defer wg.Wait()
	defer close(stop)
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	write(t, socket, "direct", c.local)
	buf := make([]byte, 100)
	for range 20 * burst {
		n, _, err := c.ReadFromAddrPort(buf)
		if err != nil {
			t.Fatal(err)
		}
		if string(buf[:n]) == "direct" {
			return
		}
	}
	t.Errorf("a datagram at the socket waited behind %d of the relay", 20*burst)
}

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

func TestForgedVirtualSourceIsDropped(t *testing.T) {
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

func TestSFUCannotWriteToAPeerThatNeverWrote(t *testing.T) {
	c := listen(t, "127.0.0.1:0", Config{})
	g := group(t, c)
	p := openPeer(t, g, "udp4")
	for _, to := range []netip.AddrPort{p.addr, netip.MustParseAddrPort("198.18.0.1:1")} {
		if _, err := c.WriteToAddrPort([]byte("x"), to); err != nil {
			t.Errorf("write to %v: %v; like any lost datagram it should be no error", to, err)
		}
	}
	if got := g.Stats().DroppedUnknownPeer; got != 2 {
		t.Errorf("%d drops counted, want 2", got)
	}
}

func TestFullQueuesDropAndCount(t *testing.T) {
	c := listen(t, "127.0.0.1:0", Config{Queue: 10})
	g := group(t, c)
	p := openPeer(t, g, "udp4")
	for range 15 { // nobody reads
		write(t, p, "x", c.local)
	}
	if got := g.Stats().DroppedInFull; got != 5 {
		t.Errorf("%d dropped on the way in, want 5", got)
	}
	for range peerQueue + 7 {
		if _, err := c.WriteToAddrPort([]byte("x"), p.addr); err != nil {
			t.Fatal(err)
		}
	}
	if got := g.Stats().DroppedOutFull; got != 7 {
		t.Errorf("%d dropped on the way out, want 7", got)
	}
	write(t, p, string(make([]byte, maxDatagram+1)), c.local)
	if got := g.Stats().DroppedOversize; got != 1 {
		t.Errorf("%d dropped for their size, want 1", got)
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
		t.Skipf("no IPv6 on this machine: %v", err)
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

func TestCloseEndsPendingReads(t *testing.T) {
	c := listen(t, "127.0.0.1:0", Config{})
	g := group(t, c)
	p := openPeer(t, g, "udp4")
	write(t, p, "x", c.local)
	in := reads(t, c)
	next(t, in)

	ended := make(chan error, 1)
	go func() { _, _, err := p.ReadFrom(make([]byte, 10)); ended <- err }()
	_ = p.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("read of a closed peer: %v", err)
	}
	if _, err := p.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(c.local)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write of a closed peer: %v", err)
	}
	if g.Peers() != 0 {
		t.Errorf("%d peers are still open", g.Peers())
	}
	_ = c.Close()
	if _, open := <-in; open {
		t.Error("the reader went on after Close")
	}
	if _, err := c.WriteToAddrPort([]byte("x"), p.addr); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write to a peer through a closed Conn: %v", err)
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

func BenchmarkPeerToConn(b *testing.B) {
	c, err := Listen(netip.MustParseAddrPort("127.0.0.1:0"), Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	g, err := NewGroup(c)
	if err != nil {
		b.Fatal(err)
	}
	p, err := g.OpenPeer("udp4", 0)
	if err != nil {
		b.Fatal(err)
	}
	to, data, buf := net.UDPAddrFromAddrPort(c.local), make([]byte, 1200), make([]byte, 1500)
	b.SetBytes(1200)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = p.WriteTo(data, to)
		if _, _, err := c.ReadFromAddrPort(buf); err != nil {
			b.Fatal(err)
		}
	}
}
