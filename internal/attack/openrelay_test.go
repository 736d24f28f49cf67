package attack

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

// mapped writes a peer's IPv4 address into an IPv6 one (RFC 4291 section
// 2.5.5.2), which peerAttr would take out of it again.
type mapped netip.AddrPort

func (p mapped) AddTo(m *stun.Message) error {
	a := netip.AddrPort(p)
	ip := a.Addr().As16()
	value := binary.BigEndian.AppendUint16([]byte{0, 2}, a.Port())
	value = append(value, ip[:]...)
	for i, x := range append([]byte{0x21, 0x12}, m.Raw[4:20]...) { // RFC 8489 section 14.2
		value[2+i] ^= x
	}
	m.Add(stun.AttrXORPeerAddress, value)
	return nil
}

// ownSinks opens sinks on loopback and on every IPv4 address of this machine:
// beside the SFU, too.
func ownSinks(t *testing.T) []*sink {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	sinks := []*sink{newSink(t, "127.0.0.2"), newSink(t, "127.255.0.1")}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil {
			sinks = append(sinks, newSink(t, n.IP.String()))
		}
	}
	return sinks
}

func TestOpenRelayReachesNoForbiddenPeer(t *testing.T) {
	keys := certificate(t)
	keys["turn.mode"] = "open"
	c := serve(t, keys)
	sinks := ownSinks(t)
	for name, r := range map[string]*raw{"UDP": c.overUDP(user("a"), 26), "TCP": c.overTCP(user("b")), "TLS": c.overTLS(user("c"))} {
		relayed := r.allocate()
		if relayed.Addr() != c.media.Addr() || relayed.Port() < 49152 || relayed.Port() > 49999 {
			t.Errorf("%s: relayed at %v, want a port of turn.relay_ports", name, relayed)
		}
		refused := 0
		for _, text := range forbidden {
			ip := netip.MustParseAddr(text)
			if text == "8.8.8.8" || text == "1.0.0.0" { // public
				continue
			}
			r.wantForbidden(name, peerAttr(netip.AddrPortFrom(ip, 53)), text)
			refused++
		}
		for _, s := range sinks {
			r.wantForbidden(name, mapped(s.udp), "::ffff:"+s.udp.Addr().String())
			if s.udp.Addr() != c.media.Addr() {
				r.wantForbidden(name, peerAttr(s.udp), s.udp.Addr().String())
				refused++
			} else { // a permission is for the SFU's port
				r.wantCode(name+": the SFU's address", 0, stun.MethodChannelBind, channelAttr(0x4100), peerAttr(s.udp))
				r.send(append(channelData(0x4100, []byte("let me through")), 0, 0))
			}
			r.send(sendIndication(s.udp, []byte("let me through")))
			if name != "UDP" { // where indications and answers come in order
				r.wantCode(name+": Refresh", 0, stun.MethodRefresh, lifetimeAttr(600))
			}
		}
		t.Logf("%s: %d addresses refused with 403 or 443, CreatePermission and ChannelBind each", name, refused)
	}
	pause(100 * time.Millisecond)
	for _, s := range sinks {
		s.wantNothing(t)
	}
}

// wantForbidden checks that a peer gets no permission, and no datagram if it is
// sent one nevertheless.
func (r *raw) wantForbidden(name string, peer stun.Setter, what string) {
	r.t.Helper()
	for request, method := range map[string]stun.Method{"CreatePermission": stun.MethodCreatePermission, "ChannelBind": stun.MethodChannelBind} {
		if code, _ := r.request(method, channelAttr(0x4000), peer); code != 403 && code != 443 {
			r.t.Errorf("%s: %s for %s: %d, want 403 or 443", name, request, what, code)
		}
	}
	m, err := stun.Build(stun.TransactionID, stun.NewType(stun.MethodSend, stun.ClassIndication), peer,
		stun.RawAttribute{Type: stun.AttrData, Value: []byte("let me through")})
	if err != nil {
		r.t.Fatal(err)
	}
	r.send(m.Raw)
}

func TestOpenRelayOfIPv6ReachesNoForbiddenPeer(t *testing.T) {
	c := serve(t, options{"turn.mode": "open", "media.families": "ipv4,ipv6"})
	r := c.overTCP(user("a"))
	r.wantCode("Allocate of IPv6", 0, stun.MethodAllocate, relayUDP,
		stun.RawAttribute{Type: stun.AttrRequestedAddressFamily, Value: []byte{2, 0, 0, 0}})
	refused := 0
	for _, text := range forbidden {
		ip := netip.MustParseAddr(text)
		if ip.Is4() || ip == netip.IPv6Loopback() { // the SFU is there, by port
			continue
		}
		var peer stun.Setter = peerAttr(netip.AddrPortFrom(ip, 53))
		if ip.Is4In6() {
			peer = mapped(netip.AddrPortFrom(ip, 53))
		}
		r.wantForbidden("IPv6", peer, text)
		refused++
	}
	if refused < 12 {
		t.Errorf("%d addresses were tried", refused)
	}
	beside, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Fatal(err)
	}
	defer beside.Close()
	peer := beside.LocalAddr().(*net.UDPAddr).AddrPort()
	r.wantCode("CreatePermission for the SFU's address", 0, stun.MethodCreatePermission, peerAttr(peer))
	r.send(sendIndication(peer, []byte("let me through")))
	r.wantCode("Refresh", 0, stun.MethodRefresh, lifetimeAttr(600))
	_ = beside.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, from, err := beside.ReadFrom(make([]byte, 100)); err == nil {
		t.Errorf("%d bytes came from %v beside the SFU", n, from)
	}
}
