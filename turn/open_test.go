package turn

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

// outside is where the NAT of the tests of open relays shows the machine.
var outside = netip.MustParseAddr("203.0.113.9")

// startOpen starts a bench whose relay is open: on loopback, behind a NAT that
// shows it as outside, with the media address there as well.
func startOpen(t testing.TB, change func(*Config), allow ...string) *bench {
	t.Helper()
	return start(t, func(c *Config) {
		home := netip.MustParseAddr("127.0.0.1")
		bound := c.Media[0]
		shown := netip.AddrPortFrom(outside, bound.Port())
		c.OpenRelay = nil
		c.Media = append(c.Media, shown)
		c.Open = &Open{
			Addresses: []RelayAddress{{Local: home, Public: outside}},
			FirstPort: 49152, LastPort: 49999,
			Own:   func() ([]netip.Addr, error) { return []netip.Addr{home, outside}, nil },
			Bound: map[netip.AddrPort]netip.AddrPort{shown: bound},
		}
		for _, text := range allow {
			c.Open.AllowPeers = append(c.Open.AllowPeers, netip.MustParsePrefix(text))
		}
		if change != nil {
			change(c)
		}
	})
}

// allocateAt is allocate; it returns the relayed address.
func (r *raw) allocateAt() netip.AddrPort {
	r.t.Helper()
	code, answer := r.request(stun.MethodAllocate, overUDP)
	if code != 0 {
		r.t.Fatalf("Allocate: %d", code)
	}
	return relayedOf(r.t, answer)
}

func relayedOf(t testing.TB, answer *stun.Message) netip.AddrPort {
	t.Helper()
	var a stun.XORMappedAddress
	if err := a.GetFromAs(answer, stun.AttrXORRelayedAddress); err != nil {
		t.Fatal(err)
	}
	ip, _ := netip.AddrFromSlice(a.IP)
	return netip.AddrPortFrom(ip, uint16(a.Port))
}

// receive waits for a Data indication and returns peer and data.
func (r *raw) receive() (netip.AddrPort, string) {
	r.t.Helper()
	if err := r.conn.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
		r.t.Fatal(err)
	}
	buf := make([]byte, 2048)
	n, err := r.conn.Read(buf)
	if err != nil {
		r.t.Fatalf("no Data indication: %v", err)
	}
	m := &stun.Message{Raw: buf[:n]}
	var peer stun.XORMappedAddress
	if err := errors.Join(m.Decode(), peer.GetFromAs(m, stun.AttrXORPeerAddress)); err != nil {
		r.t.Fatal(err)
	}
	data, err := m.Get(stun.AttrData)
	if err != nil {
		r.t.Fatal(err)
	}
	ip, _ := netip.AddrFromSlice(peer.IP)
	return netip.AddrPortFrom(ip, uint16(peer.Port)), string(data)
}

// exactPeer is peerAttr that writes an IPv4 address mapped into IPv6 as such.
func exactPeer(a netip.AddrPort) stun.Setter {
	if !a.Addr().Is4In6() {
		return peerAttr(a)
	}
	return mappedPeer(a)
}

type mappedPeer netip.AddrPort

func (p mappedPeer) AddTo(m *stun.Message) error {
	a := netip.AddrPort(p)
	value := binary.BigEndian.AppendUint16([]byte{0, 2}, a.Port())
	value = append(value, a.Addr().AsSlice()...)
	mask := append([]byte{magicCookie >> 24, magicCookie >> 16 & 0xff}, m.Raw[4:20]...) // RFC 8489 section 14.2
	for i := range mask {
		value[2+i] ^= mask[i]
	}
	m.Add(stun.AttrXORPeerAddress, value)
	return nil
}

func (r *raw) permitted(peer netip.AddrPort) {
	r.t.Helper()
	if code, _ := r.request(stun.MethodCreatePermission, peerAttr(peer)); code != 0 {
		r.t.Fatalf("CreatePermission for %v: %d", peer, code)
	}
}

// listenUDP opens a peer on an address of loopback.
func listenUDP(t testing.TB, ip string) (*net.UDPConn, netip.AddrPort) {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(ip)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn, conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

func wantNothing(t testing.TB, conn *net.UDPConn) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, from, err := conn.ReadFrom(make([]byte, 100)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v got %d bytes from %v, %v", conn.LocalAddr(), n, from, err)
	}
}

func TestOpenRelayReachesAPeerThatIsAllowed(t *testing.T) {
	b := startOpen(t, nil, "127.0.0.2/32")
	conn, peer := listenUDP(t, "127.0.0.2")
	c := b.client(t, b.mint(t, User, "alice"))
	relayed := c.allocateAt()
	if relayed.Addr() != outside || relayed.Port() < 49152 || relayed.Port() > 49999 {
		t.Errorf("relayed address %v, want a port of the range on %v", relayed, outside)
	}
	c.permitted(peer)
	c.sendTo(peer, []byte("hello"))
	buf := make([]byte, 100)
	n, from, err := conn.ReadFromUDPAddrPort(buf)
	if err != nil || string(buf[:n]) != "hello" || from != netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), relayed.Port()) {
		t.Fatalf("the peer got %q from %v, %v", buf[:n], from, err)
	}
	if _, err := conn.WriteToUDPAddrPort([]byte("and you"), from); err != nil {
		t.Fatal(err)
	}
	if who, data := c.receive(); who != peer || data != "and you" {
		t.Errorf("the client got %q from %v", data, who)
	}
	if transport, ok := b.Transport(from); !ok || transport != "udp" {
		t.Errorf("the relay's client is on %q, %v", transport, ok)
	}
}

func TestOpenRelayReachesNothingThatIsNotPublic(t *testing.T) {
	b := startOpen(t, nil)
	loopback, there := listenUDP(t, "127.0.0.2")
	beside, home := listenUDP(t, "127.0.0.1")               // beside the SFU
	c := dialRaw(t, "tcp", b.tcp, b.mint(t, User, "alice")) // over UDP, errors are limited in rate
	c.allocate()
	for _, text := range notPublic {
		ip := netip.MustParseAddr(text)
		if ip.Zone() != "" || ip == home.Addr() || ip == outside { // the SFU's: by port
			continue
		}
		peer := exactPeer(netip.AddrPortFrom(ip, there.Port()))
		if code, _ := c.request(stun.MethodCreatePermission, peer); code != 403 && code != 443 {
			t.Errorf("CreatePermission for %s: %d, want 403 or 443", text, code)
		}
		if code, _ := c.request(stun.MethodChannelBind, channelAttr(0x4000), peer); code != 403 && code != 443 {
			t.Errorf("ChannelBind to %s: %d, want 403 or 443", text, code)
		}
	}
	c.permitted(home)
	c.sendTo(home, []byte("no"))
	c.sendTo(netip.AddrPortFrom(outside, home.Port()), []byte("no"))
	c.sendTo(there, []byte("no"))
	eventually(t, "the datagram beside the SFU is dropped", func() bool { return b.Stats().Dropped["peer"] >= 1 })
	wantNothing(t, loopback)
	wantNothing(t, beside)
}

func TestRelaySocketLooksAtPeersItself(t *testing.T) {
	b := startOpen(t, nil)
	conn, peer := listenUDP(t, "127.0.0.2")
	s, _, err := b.open.listen("udp4", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, to := range []netip.AddrPort{peer, netip.AddrPortFrom(netip.AddrFrom16(peer.Addr().As16()), peer.Port()), netip.MustParseAddrPort("10.0.0.1:9")} {
		if n, err := s.WriteTo([]byte("no"), net.UDPAddrFromAddrPort(to)); n != 2 || err != nil {
			t.Errorf("to %v: %d, %v", to, n, err)
		}
	}
	if got := b.Stats().Dropped["peer"]; got != 3 {
		t.Errorf("%d drops, want 3", got)
	}
	wantNothing(t, conn)
	if _, err := conn.WriteToUDPAddrPort([]byte("from outside"), s.local); err != nil {
		t.Fatal(err)
	}
	read := make(chan error, 1)
	go func() {
		_, _, err := s.ReadFrom(make([]byte, 100))
		read <- err
	}()
	eventually(t, "a datagram of a peer that must not be is dropped", func() bool { return b.Stats().Dropped["peer"] == 4 })
	_ = s.Close()
	if err := <-read; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the reader ended with %v", err)
	}
}

func TestRelaysOfAnOpenServerReachEachOther(t *testing.T) {
	b := startOpen(t, nil)
	first, second := b.client(t, b.mint(t, User, "alice")), b.client(t, b.mint(t, Session, "s1"))
	one, two := first.allocateAt(), second.allocateAt()
	first.permitted(two)
	second.permitted(one)
	first.sendTo(two, []byte("hello"))
	if from, data := second.receive(); from != one || data != "hello" {
		t.Errorf("the second got %q from %v, want it from %v", data, from, one)
	}
	second.sendTo(one, []byte("and you"))
	if from, data := first.receive(); from != two || data != "and you" {
		t.Errorf("the first got %q from %v, want it from %v", data, from, two)
	}
	if code, _ := second.request(stun.MethodRefresh, lifetimeAttr(0)); code != 0 {
		t.Fatalf("Refresh to zero: %d", code)
	}
	port, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(two.Port())})
	if err != nil {
		t.Fatalf("the port of a relay that has ended: %v", err)
	}
	defer port.Close()
	first.sendTo(two, []byte("to who has the port now"))
	eventually(t, "the datagram is dropped", func() bool { return b.Stats().Dropped["peer"] == 1 })
	wantNothing(t, port)
}

func TestOpenRelayReachesTheSFUByEveryAddressOfIt(t *testing.T) {
	b := startOpen(t, nil)
	c := b.client(t, b.mint(t, Session, "s1"))
	c.allocate()
	bound := b.media.Advertised()[0]
	for _, peer := range []netip.AddrPort{bound, netip.AddrPortFrom(outside, bound.Port())} {
		c.permitted(peer)
		c.sendTo(peer, []byte("to "+peer.String()))
		buf := make([]byte, 100)
		n, from, err := b.media.ReadFromAddrPort(buf)
		if err != nil || string(buf[:n]) != "to "+peer.String() {
			t.Fatalf("the SFU got %q, %v", buf[:n], err)
		}
		if _, err := b.media.WriteToAddrPort([]byte("answer"), from); err != nil {
			t.Fatal(err)
		}
		if who, data := c.receive(); who != peer || data != "answer" {
			t.Errorf("the client got %q from %v, want it from %v", data, who, peer)
		}
	}
}

func TestRelayOnlyClientTalksToTheSFUThroughAnOpenRelay(t *testing.T) {
	b := startOpen(t, nil)
	b.readMedia(t)
	roundTrip(t, b, URIs("127.0.0.1", 0, int(b.tcp.Port()), 0)[0])
	if g := b.group.Stats(); g.RelayIn != 0 {
		t.Errorf("%d datagrams went through virtual peers", g.RelayIn)
	}
}

func TestRelayPortsAreEvenOnRequestAndRunOut(t *testing.T) {
	b := startOpen(t, func(c *Config) { c.Open.FirstPort, c.Open.LastPort = 49500, 49503 })
	cred := b.mint(t, User, "alice")
	code, rtp := b.client(t, cred).request(stun.MethodAllocate, overUDP, stun.RawAttribute{Type: stun.AttrEvenPort, Value: []byte{0x80}})
	if code != 0 {
		t.Fatalf("Allocate with EVEN-PORT: %d", code)
	}
	token, err := rtp.Get(stun.AttrReservationToken)
	if err != nil {
		t.Fatal(err)
	}
	code, rtcp := b.client(t, cred).request(stun.MethodAllocate, overUDP, stun.RawAttribute{Type: stun.AttrReservationToken, Value: token})
	if code != 0 {
		t.Fatalf("Allocate with a reservation: %d", code)
	}
	if one, two := relayedOf(t, rtp), relayedOf(t, rtcp); one.Port()%2 != 0 || two.Port() != one.Port()+1 {
		t.Errorf("relayed at %v and %v, want an even port and the next", one, two)
	}
	third := b.client(t, cred)
	third.allocate()
	b.client(t, cred).allocate()
	if code, _ := b.client(t, cred).request(stun.MethodAllocate, overUDP); code != 508 {
		t.Errorf("Allocate with no port left: %d, want 508", code)
	}
	if code, _ := b.client(t, cred).request(stun.MethodAllocate, overUDP, stun.RawAttribute{Type: stun.AttrEvenPort, Value: []byte{0}}); code != 508 {
		t.Errorf("Allocate of an even port with no port left: %d, want 508", code)
	}
	if code, _ := third.request(stun.MethodRefresh, lifetimeAttr(0)); code != 0 {
		t.Fatalf("Refresh to zero: %d", code)
	}
	b.client(t, cred).allocate()
	wantsIPv6 := stun.RawAttribute{Type: stun.AttrRequestedAddressFamily, Value: []byte{2, 0, 0, 0}}
	if code, _ := b.client(t, cred).request(stun.MethodAllocate, overUDP, wantsIPv6); code != 508 {
		t.Errorf("Allocate of a family without a relay address: %d, want 508", code)
	}
}

func TestBroadcastIsNotSent(t *testing.T) {
	b := startOpen(t, nil, "127.255.255.255/32") // looks like any address, but the kernel knows
	c := b.client(t, b.mint(t, User, "alice"))
	c.allocate()
	everybody := netip.MustParseAddrPort("127.255.255.255:9")
	c.permitted(everybody)
	c.sendTo(everybody, []byte("all of you"))
	eventually(t, "the kernel refuses it", func() bool { return b.Stats().Dropped["send"] == 1 })
}

func TestUnusableOpenRelayIsRefused(t *testing.T) {
	one := netip.MustParseAddr("127.0.0.1")
	good := func() Open {
		return Open{
			Addresses: []RelayAddress{{Local: one}}, FirstPort: 50000, LastPort: 50001,
			Own: func() ([]netip.Addr, error) { return nil, nil },
		}
	}
	if o := good(); o.check() != nil {
		t.Fatal(o.check())
	}
	for name, spoil := range map[string]func(*Open){
		"no address":          func(o *Open) { o.Addresses = nil },
		"unspecified":         func(o *Open) { o.Addresses[0].Local = netip.IPv4Unspecified() },
		"no valid address":    func(o *Open) { o.Addresses[0].Local = netip.Addr{} },
		"two of a family":     func(o *Open) { o.Addresses = append(o.Addresses, o.Addresses[0]) },
		"two families in one": func(o *Open) { o.Addresses[0].Public = netip.IPv6Loopback() },
		"no port":             func(o *Open) { o.FirstPort = 0 },
		"one port":            func(o *Open) { o.LastPort = o.FirstPort },
		"own not known":       func(o *Open) { o.Own = nil },
	} {
		t.Run(name, func(t *testing.T) {
			o := good()
			spoil(&o)
			if o.check() == nil {
				t.Error("accepted")
			}
		})
	}
}
