package netlab

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"
)

// Profile is a kind of network.
type Profile struct {
	Name    string
	Summary string // what it does, in a few words
	// Paths names the ways that media can take, best first. Empty: there is
	// none, and Code says what people are to be told.
	Paths []string
	Code  string
	// Mapping and Filtering are how the client's router treats UDP (RFC 4787,
	// sections 4 and 5): "" where there is no address translation.
	Mapping, Filtering Behavior
	// Proxy: the client reaches nothing but a CONNECT proxy, ProxyAddress.
	Proxy bool
	// Front: clients know only a reverse proxy, at SecondIPv4.
	Front bool
	// NAT11: the server has PrivateIPv4, which the edge translates.
	NAT11 bool
	// NeedsTLS: without TLS there is no path at all.
	NeedsTLS bool
	// Event is what happens in mid-call.
	Event Event

	v4only bool // the client has no IPv6, which no NAT would touch
	wire   wireConfig
	mtu    int // of the link between the routers; 0 is 1500
	build  func(context.Context, *Lab) error
}

// Behavior of a NAT, mapping or filtering.
type Behavior string

// Behaviors in the words of RFC 4787.
const (
	EndpointIndependent Behavior = "endpoint-independent"
	AddressDependent    Behavior = "address-dependent"
	PortDependent       Behavior = "address and port-dependent"
)

// Event of a profile.
type Event string

// Events.
const (
	RebindEvent   Event = "rebind"
	HandoverEvent Event = "handover"
	RestartEvent  Event = "restart" // of the server, by SIGKILL
)

// The paths that media can take.
const (
	PathUDP    = "udp"
	PathICETCP = "ice-tcp"
	PathTURN   = "turn/tcp"
	PathTURNS  = "turns"
)

func everyPath() []string { return []string{PathUDP, PathICETCP, PathTURN, PathTURNS} }
func tcpPaths() []string  { return []string{PathICETCP, PathTURN, PathTURNS} }

// Profiles returns every network of the lab.
func Profiles() []Profile {
	symmetric := func(name, summary string) Profile {
		return Profile{
			Name: name, Summary: summary, Paths: everyPath(),
			Mapping: PortDependent, Filtering: PortDependent, v4only: true, build: masquerade("fully-random"),
		}
	}
	cone := func(name, summary string, filtering Behavior, build func(context.Context, *Lab) error) Profile {
		return Profile{
			Name: name, Summary: summary, Paths: everyPath(),
			Mapping: EndpointIndependent, Filtering: filtering, v4only: true, build: build,
		}
	}
	home := func(name, summary string, paths []string, rules ...string) Profile {
		return Profile{Name: name, Summary: summary, Paths: paths, build: firewall(rules...)}
	}
	shortmap := symmetric("shortmap", "symmetric NAT that forgets a mapping after 5 s without a packet")
	shortmap.build = shortMappings
	slow := home("slow1m", "1 Mbit/s each way, round trip 200 ms", everyPath())
	slow.wire = wireConfig{Delay: 100 * time.Millisecond, Up: 1e6, Down: 1e6}
	uplink := home("uplink300k", "300 kbit/s up", everyPath())
	uplink.wire = wireConfig{Delay: 10 * time.Millisecond, Up: 300e3}
	narrow := home("mtu1280", "packets above 1280 bytes do not fit between the routers", everyPath())
	narrow.mtu = 1280
	proxy := home("proxy", "nothing but an HTTP CONNECT proxy, to port 443", tcpPaths(), "drop")
	proxy.Proxy = true
	dpi := Profile{
		Name: "tls443", Summary: "TCP to port 443, and a flow must open like TLS", Paths: []string{PathTURNS},
		NeedsTLS: true, build: onlyTLS,
	}
	front := home("unreachable", "a reverse proxy for HTTP is reached, the server's own ports are not", nil,
		established, "ip daddr "+SecondIPv4+" tcp dport 443 accept", "drop")
	front.Front, front.Code = true, "NO_ROUTE"
	handover := symmetric("handover", "the client's address changes in mid-call (Wi-Fi to mobile)")
	handover.Event, handover.build = HandoverEvent, secondNetwork
	rebind := symmetric("rebind", "the NAT forgets its mappings in mid-call")
	rebind.Event = RebindEvent
	restart := home("serverdies", "the server is killed in mid-call and comes back", everyPath())
	restart.Event = RestartEvent
	return []Profile{
		{Name: "open", Summary: "no address translation", Paths: everyPath(), build: routed},
		cone("fullcone", "full cone NAT: anybody may answer", EndpointIndependent, fullCone),
		cone("addrcone", "address cone: whoever was contacted may answer, from any port", AddressDependent, addressCone),
		cone("portcone", "port cone: only the very address and port that was contacted may answer", PortDependent, masquerade("")),
		symmetric("symmetric", "symmetric NAT: another port for every destination"),
		shortmap,
		home("udpblock", "UDP is dropped", tcpPaths(), "meta l4proto udp drop"),
		home("tcp443", "nothing but TCP to port 443", tcpPaths(), established, "tcp dport 443 accept", "drop"),
		dpi,
		proxy,
		{Name: "v6only", Summary: "the client has IPv6 only", Paths: everyPath(), build: onlyIPv6},
		home("v6broken", "IPv6 is there and leads nowhere", everyPath(), "meta nfproto ipv6 drop"),
		home("loss5", "5 % of packets are lost each way", everyPath(), "numgen random mod 100 < 5 drop"),
		home("loss15", "15 % of packets are lost each way", everyPath(), "numgen random mod 100 < 15 drop"),
		slow,
		uplink,
		narrow,
		{Name: "nat11", Summary: "the server is behind 1:1 NAT without hairpin; the doctor beside it, the patient outside",
			Paths: everyPath(), NAT11: true, build: serverNAT},
		rebind,
		handover,
		front,
		restart,
	}
}

// FindProfile returns the profile with a name.
func FindProfile(name string) (Profile, error) {
	var names []string
	for _, p := range Profiles() {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Profile{}, fmt.Errorf("no profile %q; there are %s", name, strings.Join(names, ", "))
}

// established lets answers through a firewall.
const established = "ct state established,related accept"

// natChains are the chains of address translation, without a rule.
const natChains = `add table ip nat
add chain ip nat post { type nat hook postrouting priority 100; }
add chain ip nat pre { type nat hook prerouting priority -100; }
`

// routed lets the world reach the client.
func routed(ctx context.Context, l *Lab) error {
	return l.Edge.ip(ctx, "route add 10.9.0.0/24 via "+RouterOutside)
}

// masquerade is the usual NAT. By default Linux keeps the source port and
// filters by address and port.
func masquerade(how string) func(context.Context, *Lab) error {
	return func(ctx context.Context, l *Lab) error {
		return l.Router.nft(ctx, natChains+"add rule ip nat post oifname out0 masquerade "+how+"\n")
	}
}

// firewall is the usual NAT, with rules for what is forwarded.
func firewall(rules ...string) func(context.Context, *Lab) error {
	return func(ctx context.Context, l *Lab) error {
		if err := masquerade("")(ctx, l); err != nil {
			return err
		}
		if err := forwardRules(ctx, l, rules...); err != nil {
			return err
		}
		if !l.Profile.Proxy {
			return nil
		}
		var err error
		l.proxy, err = startConnectProxy(l.Router, ProxyAddress, map[string]string{Host: ServerIPv4})
		return err
	}
}

func forwardRules(ctx context.Context, l *Lab, rules ...string) error {
	text := "add table inet filter\nadd chain inet filter forward { type filter hook forward priority 0; }\n"
	for _, r := range rules {
		text += "add rule inet filter forward " + r + "\n"
	}
	return l.Router.nft(ctx, text)
}

func fullCone(ctx context.Context, l *Lab) error {
	return l.Router.nft(ctx, natChains+
		"add rule ip nat post oifname out0 snat to "+RouterOutside+"\n"+
		"add rule ip nat pre iifname out0 meta l4proto { tcp, udp } dnat to "+ClientIPv4+"\n")
}

func addressCone(ctx context.Context, l *Lab) error {
	return l.Router.nft(ctx, natChains+
		"add rule ip nat post oifname out0 snat to "+RouterOutside+"\n"+
		"add set ip nat seen { type ipv4_addr; flags dynamic,timeout; timeout 1m; }\n"+
		"add chain ip nat learn { type filter hook forward priority 0; }\n"+
		"add rule ip nat learn iifname in0 update @seen { ip daddr }\n"+
		"add rule ip nat pre iifname out0 ip saddr @seen dnat to "+ClientIPv4+"\n")
}

func shortMappings(ctx context.Context, l *Lab) error {
	if err := masquerade("fully-random")(ctx, l); err != nil {
		return err
	}
	return l.Router.sysctl(ctx, "net.netfilter.nf_conntrack_udp_timeout=5", "net.netfilter.nf_conntrack_udp_timeout_stream=5")
}

// onlyTLS resets flows whose first byte of payload is not that of a TLS
// handshake record (RFC 8446, section 5.1).
func onlyTLS(ctx context.Context, l *Lab) error {
	if err := masquerade("")(ctx, l); err != nil {
		return err
	}
	opening := "iifname in0 tcp dport 443 ct original packets < 5 @ih,0,8 "
	return forwardRules(ctx, l,
		opening+"0x00-0x15 reject with tcp reset", opening+"0x17-0xff reject with tcp reset",
		established, "tcp dport 443 accept", "drop")
}

func onlyIPv6(ctx context.Context, l *Lab) error {
	return l.Client.ip(ctx, "addr del "+ClientIPv4+"/24 dev eth0")
}

// secondNetwork is the one that Handover goes to; it is down until then.
func secondNetwork(ctx context.Context, l *Lab) error {
	if err := masquerade("fully-random")(ctx, l); err != nil {
		return err
	}
	if err := l.cable(ctx, l.Client, "eth1", l.Router, "in1"); err != nil {
		return err
	}
	if err := l.Client.ip(ctx, "link set eth1 down"); err != nil {
		return err
	}
	return l.Router.ip(ctx, "addr add 10.7.0.1/24 dev in1")
}

// serverNAT puts the server behind an edge that translates its one public
// address. Clients beside it do not reach that address: no hairpin.
func serverNAT(ctx context.Context, l *Lab) error {
	if err := masquerade("")(ctx, l); err != nil {
		return err
	}
	steps := []struct {
		n       Namespace
		command string
	}{
		{l.Server, "addr flush dev eth0"}, {l.Edge, "addr flush dev in0"},
		{l.Server, "addr add " + PrivateIPv4 + "/24 dev eth0"}, {l.Edge, "addr add 10.8.0.1/24 dev in0"},
		{l.Server, "route add default via 10.8.0.1"},
	}
	for _, s := range steps {
		if err := s.n.ip(ctx, s.command); err != nil {
			return err
		}
	}
	return l.Edge.nft(ctx, natChains+
		"add rule ip nat pre iifname out0 ip daddr "+ServerIPv4+" dnat to "+PrivateIPv4+"\n"+
		"add rule ip nat post oifname out0 ip saddr "+PrivateIPv4+" snat to "+ServerIPv4+"\n"+
		// Nobody outside knows the way to a private address; here the edge would.
		"add chain ip nat forward { type filter hook forward priority 0; }\n"+
		"add rule ip nat forward iifname out0 ct state new ct status & dnat == 0 drop\n")
}

// ServerURL is where clients find the server.
func ServerURL(tls bool) string {
	if tls {
		return "https://" + Host
	}
	return "http://" + net.JoinHostPort(Host, "443")
}
