package turn

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

// denied are peers that a server must never relay to, in the forms with which
// other servers' deny lists were got round.
var denied = []string{
	"0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1",
	"255.255.255.255", "198.18.0.1", "127.0.0.2", "8.8.8.8",
	"::1", "::", "fe80::1", "fc00::1", "64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1", "2001:db8::1",
}

func TestNoPeerButTheSFUGetsAPermission(t *testing.T) {
	b := start(t, nil)
	c := b.client(t, b.mint(t, Session, "s1"))
	c.allocate()
	for _, ip := range denied {
		peer := peerAttr(netip.AddrPortFrom(netip.MustParseAddr(ip), 53))
		if code, _ := c.request(stun.MethodCreatePermission, peer); code != 403 && code != 443 {
			t.Errorf("CreatePermission for %s: %d, want 403 or 443", ip, code)
		}
		if code, _ := c.request(stun.MethodChannelBind, channelAttr(0x4000), peer); code != 403 && code != 443 {
			t.Errorf("ChannelBind to %s: %d, want 403 or 443", ip, code)
		}
	}
	ours := peerAttr(b.media.Advertised()[0])
	if code, _ := c.request(stun.MethodCreatePermission, ours, peerAttr(netip.MustParseAddrPort("10.0.0.1:1"))); code != 403 {
		t.Errorf("a list of one good and one bad peer: %d, want 403", code)
	}
	if code, _ := c.request(stun.MethodCreatePermission, ours); code != 0 {
		t.Errorf("CreatePermission for the SFU: %d", code)
	}
	for name, value := range map[string][]byte{"family 3": {0, 3, 1, 2, 3, 4, 5, 6}, "five bytes": {0, 1, 0, 1, 9}, "empty": {}} {
		bad := stun.RawAttribute{Type: stun.AttrXORPeerAddress, Value: value}
		if code, _ := c.request(stun.MethodCreatePermission, bad); code == 0 {
			t.Errorf("peer address of %s was granted", name)
		}
	}
}

// sendTo sends data through the relay in a Send indication.
func (r *raw) sendTo(peer netip.AddrPort, data []byte) {
	r.t.Helper()
	m, err := stun.Build(stun.TransactionID, stun.NewType(stun.MethodSend, stun.ClassIndication),
		peerAttr(peer), stun.RawAttribute{Type: stun.AttrData, Value: data})
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.conn.Write(m.Raw); err != nil {
		r.t.Fatal(err)
	}
}

func channelData(number uint16, data []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, number)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

func TestOtherPortsOfTheSFUAndOtherRelaysGetNothing(t *testing.T) {
	b := start(t, nil)
	sink, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	c := b.client(t, b.mint(t, Session, "s1"))
	c.allocate()
	sinkAddr := sink.LocalAddr().(*net.UDPAddr).AddrPort()
	if code, _ := c.request(stun.MethodChannelBind, channelAttr(0x4001), peerAttr(sinkAddr)); code != 0 {
		t.Fatalf("ChannelBind to another port of the SFU's IP: %d", code) // the permission is per IP
	}
	for range 5 {
		c.sendTo(sinkAddr, []byte("no"))
		if _, err := c.conn.Write(channelData(0x4001, []byte("no"))); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "ten drops are counted", func() bool { return b.Stats().Dropped["not_media"] == 10 })
	_ = sink.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if _, _, err := sink.ReadFrom(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the other port got a datagram, %v", err)
	}

	media := b.media.Advertised()[0]
	if code, _ := c.request(stun.MethodChannelBind, channelAttr(0x4002), peerAttr(media)); code != 0 {
		t.Fatalf("ChannelBind to the media address: %d", code)
	}
	if _, err := c.conn.Write(channelData(0x4002, []byte("media"))); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, from, err := b.media.ReadFromAddrPort(buf)
	if err != nil || string(buf[:n]) != "media" {
		t.Errorf("the SFU read %q from %v, %v", buf[:n], from, err)
	}
}

func TestWhatNeedsASocketIsRefused(t *testing.T) {
	b := start(t, nil)
	even := stun.RawAttribute{Type: stun.AttrEvenPort, Value: []byte{0x80}}
	token := stun.RawAttribute{Type: stun.AttrReservationToken, Value: []byte("ABCDEFGH")}
	tests := map[string]struct {
		attrs []stun.Setter
		want  int
	}{
		"TCP relay":                 {[]stun.Setter{overTCP}, 508},
		"SCTP relay":                {[]stun.Setter{stun.RawAttribute{Type: stun.AttrRequestedTransport, Value: []byte{132, 0, 0, 0}}}, 442},
		"no transport":              {nil, 400},
		"unknown reservation":       {[]stun.Setter{overUDP, token}, 508},
		"even port and reservation": {[]stun.Setter{overUDP, even, token}, 400},
		"IPv6 without IPv6 media":   {[]stun.Setter{overUDP, stun.RawAttribute{Type: stun.AttrRequestedAddressFamily, Value: []byte{2, 0, 0, 0}}}, 508},
		"family 9":                  {[]stun.Setter{overUDP, stun.RawAttribute{Type: stun.AttrRequestedAddressFamily, Value: []byte{9, 0, 0, 0}}}, 440},
		"lifetime 0":                {[]stun.Setter{overUDP, lifetimeAttr(0)}, 508},
		"do not fragment":           {[]stun.Setter{overUDP, stun.RawAttribute{Type: stun.AttrDontFragment}}, 420},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			c := b.client(t, b.mint(t, User, "alice"))
			if code, _ := c.request(stun.MethodAllocate, tc.attrs...); code != tc.want {
				t.Errorf("got %d, want %d", code, tc.want)
			}
		})
	}
	c := b.client(t, b.mint(t, User, "alice"))
	c.allocate()
	media := peerAttr(b.media.Advertised()[0])
	for name, method := range map[string]stun.Method{"Connect": stun.MethodConnect, "ConnectionBind": stun.MethodConnectionBind} {
		if code, _ := c.request(method, media); code == 0 {
			t.Errorf("%s of RFC 6062 was granted", name)
		}
	}
	if n := b.group.Peers(); n != 1 {
		t.Errorf("%d relays are open, want 1", n)
	}
}

func TestEvenPortAndItsReservationAreHonoured(t *testing.T) {
	b := start(t, nil)
	cred := b.mint(t, User, "alice")
	_, rtp := b.client(t, cred).request(stun.MethodAllocate, overUDP, stun.RawAttribute{Type: stun.AttrEvenPort, Value: []byte{0x80}})
	var first, second stun.XORMappedAddress
	if err := first.GetFromAs(rtp, stun.AttrXORRelayedAddress); err != nil || first.Port%2 != 0 {
		t.Fatalf("relayed address %v, %v; want an even port", first, err)
	}
	token, err := rtp.Get(stun.AttrReservationToken)
	if err != nil {
		t.Fatal(err)
	}
	_, rtcp := b.client(t, cred).request(stun.MethodAllocate, overUDP, stun.RawAttribute{Type: stun.AttrReservationToken, Value: token})
	if err := second.GetFromAs(rtcp, stun.AttrXORRelayedAddress); err != nil || second.Port != first.Port+1 {
		t.Errorf("relayed address %v, %v; want port %d", second, err, first.Port+1)
	}
	if n := b.group.Peers(); n != 2 {
		t.Errorf("%d relays are open, want 2", n)
	}
}

func TestQuotasHoldInARow(t *testing.T) {
	b := start(t, func(c *Config) {
		c.PerSession.Allocations, c.PerUser.Allocations, c.Total.Allocations = 2, 5, 4
	})
	cred := b.mint(t, Session, "s1")
	first := b.client(t, cred)
	first.allocate()
	b.client(t, cred).allocate()
	if code, _ := b.client(t, cred).request(stun.MethodAllocate, overUDP); code != 486 {
		t.Errorf("over the session's quota: %d, want 486", code)
	}
	if code, _ := first.request(stun.MethodRefresh, lifetimeAttr(0)); code != 0 {
		t.Fatalf("Refresh to zero: %d", code)
	}
	b.relays(t, 1)
	b.client(t, cred).allocate()
	user := b.mint(t, User, "s1") // the same id of the other kind is another account
	b.client(t, user).allocate()
	b.client(t, user).allocate()
	if code, _ := b.client(t, user).request(stun.MethodAllocate, overUDP); code != 508 {
		t.Errorf("over the server's limit: %d, want 508", code)
	}
	if got := b.Stats().Allocations[Allocations{"udp", "ipv4"}]; got != 4 {
		t.Errorf("%d allocations counted, want 4", got)
	}
}

func TestQuotaHoldsWhenRacedFor(t *testing.T) {
	b := start(t, func(c *Config) { c.PerSession.Allocations = 4 })
	cred := b.mint(t, Session, "s1")
	const clients = 40
	var granted atomic.Int32
	var ready, done sync.WaitGroup
	goes := make(chan struct{})
	for i := range clients {
		network, to := "tcp", b.tcp // a goroutine of Pion each
		if i%4 == 0 {
			network, to = "udp", b.udp
		}
		c := dialRaw(t, network, to, cred)
		ready.Add(1)
		done.Go(func() {
			if code, _ := c.request(stun.MethodRefresh, lifetimeAttr(600)); code != -1 { // only for the nonce
				t.Errorf("Refresh without an allocation: %d, want silence", code)
			}
			ready.Done()
			<-goes
			if code, _ := c.request(stun.MethodAllocate, overUDP); code == 0 {
				granted.Add(1)
			}
		})
	}
	ready.Wait()
	close(goes)
	done.Wait()
	if granted.Load() != 4 || b.group.Peers() != 4 {
		t.Errorf("%d granted, %d relays open, want 4", granted.Load(), b.group.Peers())
	}
}

func TestAllocationWithTooManyChannelsDies(t *testing.T) {
	b := start(t, nil)
	scanner, other := b.client(t, b.mint(t, Session, "s1")), b.client(t, b.mint(t, Session, "s2"))
	scanner.allocate()
	other.allocate()
	ip := b.media.Advertised()[0].Addr()
	for i := range maxPeers + 1 {
		peer := peerAttr(netip.AddrPortFrom(ip, uint16(1000+i)))
		if code, _ := scanner.request(stun.MethodChannelBind, channelAttr(uint16(0x4000+i)), peer); code != 0 {
			t.Fatalf("channel %d: %d", i, code)
		}
	}
	b.relays(t, 1)
	if got := b.Stats().Denied["channels"]; got != 1 {
		t.Errorf("%d counted, want 1", got)
	}
	if code, _ := other.request(stun.MethodRefresh, lifetimeAttr(600)); code != 0 {
		t.Errorf("another client's Refresh: %d", code)
	}
}

func TestChannelNumbersAreChecked(t *testing.T) {
	b := start(t, nil)
	c := b.client(t, b.mint(t, Session, "s1"))
	c.allocate()
	media := b.media.Advertised()[0]
	other := peerAttr(netip.AddrPortFrom(media.Addr(), 1))
	if code, _ := c.request(stun.MethodChannelBind, channelAttr(0x4000), peerAttr(media)); code != 0 {
		t.Fatalf("ChannelBind: %d", code)
	}
	for name, attrs := range map[string][]stun.Setter{
		"number to another peer": {channelAttr(0x4000), other},
		"peer to another number": {channelAttr(0x4001), peerAttr(media)},
	} {
		if code, _ := c.request(stun.MethodChannelBind, attrs...); code != 400 {
			t.Errorf("%s: %d, want 400", name, code)
		}
	}
	for name, frame := range map[string][]byte{
		"unbound channel":   channelData(0x4005, []byte("x")),
		"length beyond end": {0x40, 0, 0xff, 0xff, 1},
		"no length":         {0x40, 0},
	} {
		if _, err := c.conn.Write(frame); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	c.sendTo(media, []byte("after the bad ones"))
	buf := make([]byte, 100)
	if n, _, err := b.media.ReadFromAddrPort(buf); err != nil || string(buf[:n]) != "after the bad ones" {
		t.Errorf("the SFU read %q, %v", buf[:n], err)
	}
}

func TestChannelNumberOutOfRangeEndsTheAllocation(t *testing.T) {
	b := start(t, nil)
	media := peerAttr(b.media.Advertised()[0])
	for i, number := range []uint16{0x3FFF, 0x8000, 0} {
		c := b.client(t, b.mint(t, Session, "s1"))
		c.allocate()
		c.request(stun.MethodChannelBind, channelAttr(number), media)
		b.relays(t, 0)
		if got := b.Stats().Denied["channel_number"]; got != uint64(i+1) {
			t.Errorf("number %#x: %d counted, want %d", number, got, i+1)
		}
	}
}

func TestBandwidthIsCappedBothWays(t *testing.T) {
	b := start(t, func(c *Config) { c.PerSession.Bandwidth = 8 * 100_000 }) // bursts of 64 KiB
	c := b.client(t, b.mint(t, Session, "s1"))
	c.allocate()
	media := b.media.Advertised()[0]
	if code, _ := c.request(stun.MethodCreatePermission, peerAttr(media)); code != 0 {
		t.Fatalf("CreatePermission: %d", code)
	}
	var relayed sync.WaitGroup
	var from atomic.Pointer[netip.AddrPort]
	relayed.Go(func() {
		buf := make([]byte, 2000)
		for {
			_, a, err := b.media.ReadFromAddrPort(buf)
			if err != nil {
				return
			}
			from.Store(&a)
		}
	})
	defer relayed.Wait()
	defer b.media.Close()
	const datagrams, size = 200, 1000
	begin := time.Now()
	most := func() uint64 { // a full bucket, and what flowed in meanwhile
		return 64<<10 + uint64(100_000*time.Since(begin).Seconds()) + size
	}
	for i := range datagrams {
		c.sendTo(media, make([]byte, size))
		want := uint64(i + 1)
		eventually(t, "a datagram is relayed or dropped", func() bool {
			s := b.Stats()
			return s.BytesFromClient/size+s.Dropped["bandwidth"] == want
		})
	}
	up := b.Stats()
	if up.BytesFromClient < 60_000 || up.BytesFromClient > most() {
		t.Errorf("%d bytes passed from the client in %v", up.BytesFromClient, time.Since(begin))
	}
	for i := range datagrams {
		if _, err := b.media.WriteToAddrPort(make([]byte, size), *from.Load()); err != nil {
			t.Fatal(err)
		}
		want := uint64(i + 1)
		eventually(t, "a datagram is relayed or dropped", func() bool {
			s := b.Stats()
			return s.BytesToClient/size+s.Dropped["bandwidth"]-up.Dropped["bandwidth"] == want
		})
	}
	if down := b.Stats(); down.BytesToClient < 60_000 || down.BytesToClient > most() {
		t.Errorf("%d bytes passed to the client in %v", down.BytesToClient, time.Since(begin))
	}
}

func TestAnotherUserCannotTouchAnAllocation(t *testing.T) {
	b := start(t, nil)
	c := b.client(t, b.mint(t, Session, "victim"))
	c.allocate()
	if code, _ := c.request(stun.MethodAllocate, overUDP); code != 437 {
		t.Errorf("second Allocate on one 5-tuple: %d, want 437", code)
	}
	owner := c.cred
	c.cred = b.mint(t, Session, "other")
	if code, _ := c.request(stun.MethodRefresh, lifetimeAttr(0)); code == 0 {
		t.Error("another user ended the allocation")
	}
	c.cred = owner
	if code, _ := c.request(stun.MethodRefresh, lifetimeAttr(600)); code != 0 {
		t.Errorf("the owner's Refresh: %d", code)
	}
}

// A new 5-tuple each time: Pion v5.1.3 may take an allocation for the one
// before it on the same 5-tuple, see DESIGN.md.
func TestAllocatingAndLeavingLeavesNothing(t *testing.T) {
	b := start(t, nil)
	first := b.client(t, b.mint(t, Session, "s1"))
	first.allocate()
	if code, _ := first.request(stun.MethodRefresh, lifetimeAttr(0)); code != 0 {
		t.Fatal(code)
	}
	before := runtime.NumGoroutine()
	for range 500 {
		c := b.client(t, first.cred)
		c.nonce = first.nonce
		c.allocate()
		if code, _ := c.request(stun.MethodRefresh, lifetimeAttr(0)); code != 0 {
			t.Fatalf("Refresh to zero: %d", code)
		}
		_ = c.conn.Close()
	}
	b.relays(t, 0)
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
	b.accounts.mu.Lock()
	defer b.accounts.mu.Unlock()
	if len(b.accounts.by) != 0 || len(b.accounts.relays) != 0 {
		t.Errorf("%d accounts and %d relays are remembered", len(b.accounts.by), len(b.accounts.relays))
	}
}
