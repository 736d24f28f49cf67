package attack

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

// forbidden peers: what is on the server itself, in its network, or anybody's.
// Its media address is 127.0.0.1.
var forbidden = []string{
	"127.0.0.2", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254",
	"100.64.0.1", "192.0.0.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "8.8.8.8", "1.0.0.0",
	"::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", "2001:2::1",
	"64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1", "::ffff:127.0.0.2", "::ffff:10.0.0.1",
}

func TestRelayReachesNoForbiddenPeer(t *testing.T) {
	c := serve(t, nil)
	elsewhere := newSink(t, "127.0.0.2")
	before := c.sockets()
	for name, r := range map[string]*raw{"UDP": c.overUDP(user("a"), 26), "TCP": c.overTCP(user("a"))} {
		r.allocate()
		for _, text := range forbidden {
			ip := netip.MustParseAddr(text)
			peer := peerAttr(netip.AddrPortFrom(ip, elsewhere.udp.Port()))
			for what, method := range map[string]stun.Method{"CreatePermission": stun.MethodCreatePermission, "ChannelBind": stun.MethodChannelBind} {
				code, _ := r.request(method, channelAttr(0x4000), peer)
				if code != 403 && code != 443 {
					t.Errorf("%s: %s for %s: %d, want 403 or 443", name, what, text, code)
				}
			}
			r.send(sendIndication(netip.AddrPort(peer), []byte("let me through")))
		}
		r.send(sendIndication(elsewhere.udp, []byte("let me through")))
		r.wantCode(name+": the SFU and another together", 403, stun.MethodCreatePermission, peerAttr(c.media), peerAttr(elsewhere.udp))
		for what, value := range map[string][]byte{
			"family 3": {0, 3, 1, 2, 3, 4, 5, 6}, "five bytes": {0, 1, 0, 1, 9}, "empty": {}, "long": make([]byte, 64),
		} {
			if code, _ := r.request(stun.MethodCreatePermission, stun.RawAttribute{Type: stun.AttrXORPeerAddress, Value: value}); code == 0 {
				t.Errorf("%s: a peer address of %s was granted", name, what)
			}
		}
		if code, _ := r.request(stun.MethodCreatePermission); code != 400 {
			t.Errorf("%s: a permission for nobody: %d, want 400", name, code)
		}
	}
	pause(100 * time.Millisecond)
	elsewhere.wantNothing(t)
	if now := c.sockets(); now != before {
		t.Errorf("the server had %+v and has %+v", before, now)
	}
}

func TestScanThroughTheRelayReachesNothing(t *testing.T) {
	c := serve(t, nil)
	var sinks []*sink
	for range 10 { // on the very address of the SFU
		sinks = append(sinks, newSink(t, "127.0.0.1"))
	}
	before := c.sockets()
	r := c.overUDP(user("scanner"), 50)
	r.allocate()
	r.wantCode("CreatePermission for the SFU", 0, stun.MethodCreatePermission, peerAttr(c.media))
	for i, s := range sinks[:6] { // eight channels would end the allocation
		r.wantCode("ChannelBind to another port", 0, stun.MethodChannelBind, channelAttr(uint16(0x4000+i)), peerAttr(s.udp))
		r.send(channelData(uint16(0x4000+i), []byte("anybody there?")))
	}
	ports := []uint16{22, 53, 80, 123, 161, 443, 3478, 5353, c.tcp.Port(), c.turn.Port()}
	for _, s := range sinks {
		ports = append(ports, s.udp.Port(), s.tcp.Port())
	}
	probe := unsigned(stun.MethodBinding).Raw // the TURN port answers this to anybody else
	for _, port := range ports {
		r.send(sendIndication(netip.AddrPortFrom(c.media.Addr(), port), probe))
	}
	r.send(sendIndication(c.media, probe)) // reaches the media port, which is silent
	r.wantSilence("a scan")
	for i := range 500 { // a range behind the server
		if i%50 == 0 {
			peer := peerAttr(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i), byte(i >> 3), 1}), 80))
			r.wantCode(fmt.Sprint("CreatePermission for ", netip.AddrPort(peer)), 403, stun.MethodCreatePermission, peer)
		}
		r.send(sendIndication(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 1, byte(i), 1}), 80), probe))
	}
	r.wantCode("Refresh after the scan", 0, stun.MethodRefresh, lifetimeAttr(600))
	for _, s := range sinks {
		s.wantNothing(t)
	}
	if now := c.sockets(); now != before {
		t.Errorf("the server had %+v and has %+v", before, now)
	}
}

func TestNoRequestOpensASocketOrDials(t *testing.T) {
	t.Parallel() // it waits, mostly
	c := serve(t, nil)
	target := newSink(t, "127.0.0.1")
	holder := c.overTCP(user("a"))
	holder.allocate()
	before := c.sockets()
	for name, open := range map[string]func() *raw{
		"TCP": func() *raw { return c.overTCP(user("b")) }, "UDP": func() *raw { return c.overUDP(user("b"), 24) },
	} {
		for what, tc := range map[string]struct {
			attrs []stun.Setter
			code  int
		}{
			"TCP relay":             {[]stun.Setter{relayTCP}, 508},
			"another protocol":      {[]stun.Setter{stun.RawAttribute{Type: stun.AttrRequestedTransport, Value: []byte{1, 0, 0, 0}}}, 442},
			"a reservation of none": {[]stun.Setter{relayUDP, stun.RawAttribute{Type: stun.AttrReservationToken, Value: []byte("ABCDEFGH")}}, 508},
			"a lifetime of 0":       {[]stun.Setter{relayUDP, lifetimeAttr(0)}, 508},
		} {
			open().wantCode(name+": "+what, tc.code, stun.MethodAllocate, tc.attrs...)
		}
		even := open()
		even.wantCode(name+": an even port", 0, stun.MethodAllocate, relayUDP, stun.RawAttribute{Type: stun.AttrEvenPort, Value: []byte{0}})
		for what, method := range map[string]stun.Method{"Connect": stun.MethodConnect, "ConnectionBind": stun.MethodConnectionBind, "ConnectionAttempt": stun.MethodConnectionAttempt} {
			if code, _ := even.request(method, peerAttr(target.tcp)); code == 0 {
				t.Errorf("%s: %s was granted", name, what)
			}
		}
	}
	target.wantNothing(t)
	if now := c.sockets(); now != before {
		t.Errorf("the server had %+v and has %+v", before, now)
	}
}

func TestRelaysOfOthersAreNoPeers(t *testing.T) {
	c := serve(t, nil)
	victim, thief := c.overUDP(user("victim"), 28), c.overTCP(user("thief"))
	relayed := victim.allocate()
	victim.wantCode("the victim's permission", 0, stun.MethodCreatePermission, peerAttr(c.media))
	thief.allocate()
	thief.wantCode("CreatePermission for another's relay", 403, stun.MethodCreatePermission, peerAttr(relayed))
	thief.wantCode("CreatePermission for the SFU", 0, stun.MethodCreatePermission, peerAttr(c.media))
	thief.send(sendIndication(relayed, []byte("hello")))
	victim.wantSilence("a datagram to a relay")
}

func TestLifetimesAreClamped(t *testing.T) {
	t.Parallel() // it waits, mostly
	c := serve(t, nil)
	for seconds, want := range map[uint32]uint32{1<<32 - 1: 3600, 7200: 3600} {
		answer := c.overTCP(user("a")).wantCode("Allocate", 0, stun.MethodAllocate, relayUDP, lifetimeAttr(seconds))
		value, err := answer.Get(stun.AttrLifetime)
		if err != nil || len(value) != 4 {
			t.Fatalf("no lifetime in the answer: %v", err)
		}
		if got := uint32(value[0])<<24 | uint32(value[1])<<16 | uint32(value[2])<<8 | uint32(value[3]); got > want {
			t.Errorf("a lifetime of %d s was granted for %d, want at most %d", got, seconds, want)
		}
	}
	short := c.overTCP(user("a"))
	short.wantCode("Allocate for a second", 0, stun.MethodAllocate, relayUDP)
	short.wantCode("Refresh for a second", 0, stun.MethodRefresh, lifetimeAttr(1))
	pause(1500 * time.Millisecond)
	if code, _ := short.request(stun.MethodCreatePermission, peerAttr(c.media)); code == 0 {
		t.Error("the allocation lives on after its second")
	}
}

func TestBadDataIsNotRelayed(t *testing.T) {
	t.Parallel() // it waits, mostly
	c := serve(t, nil)
	call := c.call(nil)
	udp, tcp := c.overUDP(user("a"), 34), c.overTCP(user("b"))
	for _, r := range []*raw{udp, tcp} {
		r.allocate()
		noData := stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodSend, stun.ClassIndication), peerAttr(c.media)).Raw
		noPeer := stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodSend, stun.ClassIndication), stun.RawAttribute{Type: stun.AttrData, Value: []byte("x")}).Raw
		for _, b := range [][]byte{
			noData, noPeer, sendIndication(c.media, []byte("without a permission")), sendIndication(c.media, nil),
			channelData(0x4001, []byte("unbound")), channelData(0x4001, nil),
		} {
			r.send(append(b, make([]byte, (4-len(b)%4)%4)...)) // padded, for TCP
		}
		r.wantCode("ChannelBind after bad data", 0, stun.MethodChannelBind, channelAttr(0x4001), peerAttr(c.media))
	}
	call.measure("datagrams that are no media through a relay, 1000 a second", func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for i := range 200 {
			for range 10 {
				tcp.send(channelData(0x4001, bytes.Repeat([]byte{byte(i)}, 1200)))
			}
			<-tick.C
		}
	})
	tcp.send(sendIndication(c.media, make([]byte, 65_000)))
	tcp.wantClosed("a Send indication of 64 kB", 2*time.Second)
	udp.send([]byte{0x40, 1, 0xff, 0xff, 1}) // a length beyond the end
	udp.wantCode("Refresh", 0, stun.MethodRefresh, lifetimeAttr(600))
}
