package muxconn

import (
	"errors"
	"net"
	"net/netip"
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
