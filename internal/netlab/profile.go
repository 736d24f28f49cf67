package netlab

import (
	"context"
	"fmt"
	"net"
	"slices"
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
	// Intercept: a proxy opens the TLS of whatever goes to port 443, see
	// Lab.Intercept.
	Intercept bool
	// Front is who owns tcp/443 of the server's machine.
	Front Front
	// TunnelOff: the server offers no media through a WebSocket.
	TunnelOff bool
	// NAT11: the server has PrivateIPv4, which the edge translates.
	NAT11 bool
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

// Front is what stands before the server on its own machine.
type Front string

// Fronts. Without one the server owns tcp/443.
const (
	FrontStream Front = "nginx stream" // TCP is passed through by its server name
	FrontHTTP   Front = "nginx http"   // a reverse proxy, which ends the TLS
)

// Event of a profile.
type Event string

// Events.
const (
	RebindEvent   Event = "rebind"
	HandoverEvent Event = "handover"
	RestartEvent  Event = "restart" // of the server, by SIGKILL
	IdleEvent     Event = "idle"    // nobody sends for longer than a mapping lives
)

// The paths that media can take.
const (
	PathUDP    = "udp"
	PathICETCP = "ice-tcp"
	PathTURN   = "turn/tcp"
	PathTURNS  = "turns"
	// PathTURNUDP is by udp/3478, for networks that have closed udp/443.
	PathTURNUDP = "turn/udp"
	// PathWebSocket is a tunnel inside HTTP.
	PathWebSocket = "websocket"
)

// MappingLife is after how long without a packet profile "shortmap" forgets a
// mapping of UDP.
const MappingLife = 5 * time.Second

func everyPath() []string { return []string{PathUDP, PathICETCP, PathTURN, PathTURNS} }
func tcpPaths() []string  { return []string{PathICETCP, PathTURN, PathTURNS} }

// Profiles returns every network of the lab.
func Profiles() []Profile {
	return slices.Concat(natProfiles(), firewallProfiles(), linkProfiles(), serverProfiles(), eventProfiles())
}

// home is a network behind the usual NAT, with rules for what is forwarded.
func home(name, summary string, paths []string, rules ...string) Profile {
	return Profile{Name: name, Summary: summary, Paths: paths, build: firewall(rules...)}
}

func symmetric(name, summary string) Profile {
	return Profile{
		Name: name, Summary: summary, Paths: everyPath(),
		Mapping: PortDependent, Filtering: PortDependent, v4only: true, build: masquerade("fully-random"),
	}
}

func natProfiles() []Profile {
	cone := func(name, summary string, filtering Behavior, build func(context.Context, *Lab) error) Profile {
		return Profile{
			Name: name, Summary: summary, Paths: everyPath(),
			Mapping: EndpointIndependent, Filtering: filtering, v4only: true, build: build,
		}
	}
	shortmap := symmetric("shortmap", "symmetric NAT that forgets a mapping after 5 s without a packet; nobody sends for 8 s in mid-call")
	shortmap.Event, shortmap.build = IdleEvent, shortMappings
	return []Profile{
		{Name: "open", Summary: "no address translation", Paths: everyPath(), build: routed},
		cone("fullcone", "full cone NAT: anybody may answer", EndpointIndependent, fullCone),
		cone("addrcone", "address cone: whoever was contacted may answer, from any port", AddressDependent, addressCone),
		cone("portcone", "port cone: only the very address and port that was contacted may answer", PortDependent, masquerade("")),
		symmetric("symmetric", "symmetric NAT: another port for every destination"),
		shortmap,
	}
}

func firewallProfiles() []Profile {
	proxy := home("proxy", "nothing but an HTTP CONNECT proxy, to port 443", tcpPaths(), "drop")
	proxy.Proxy = true
	intercept := Profile{
		Name: "intercept", Summary: "a proxy opens TLS to port 443 and lets HTTP/1.1 through, nothing else",
		Paths: []string{PathWebSocket}, Intercept: true, build: interception,
	}
	return []Profile{
		home("udpblock", "UDP is dropped", tcpPaths(), "meta l4proto udp drop"),
		home("tcp443", "nothing but TCP to port 443", tcpPaths(), onlyTCP443()...),
		{Name: "tls443", Summary: "TCP to port 443, and a flow must open like TLS", Paths: []string{PathTURNS}, build: onlyTLS},
		proxy,
		intercept,
		{Name: "v6only", Summary: "the client has IPv6 only", Paths: everyPath(), build: onlyIPv6},
		home("v6broken", "IPv6 is there and leads nowhere", everyPath(), "meta nfproto ipv6 drop"),
	}
}

func linkProfiles() []Profile {
	slow := home("slow1m", "1 Mbit/s each way, round trip 200 ms", everyPath())
	slow.wire = wireConfig{Delay: 100 * time.Millisecond, Up: 1e6, Down: 1e6}
	uplink := home("uplink300k", "300 kbit/s up", everyPath())
	uplink.wire = wireConfig{Delay: 10 * time.Millisecond, Up: 300e3}
	narrow := home("mtu1280", "packets above 1280 bytes do not fit between the routers", everyPath())
	narrow.mtu = 1280
	return []Profile{
		home("loss5", "5 % of packets are lost each way", everyPath(), "numgen random mod 100 < 5 drop"),
		home("loss15", "15 % of packets are lost each way", everyPath(), "numgen random mod 100 < 15 drop"),
		slow,
		uplink,
		narrow,
	}
}

// serverProfiles are those where the server's own network is special.
func serverProfiles() []Profile {
	nginx := home("nginx", "nginx owns tcp/443 of the server and passes TCP on", []string{PathUDP, PathTURN, PathTURNS})
	nginx.Front = FrontStream
	nginxTCP := home("nginxtcp", "the same, and the client reaches nothing but TCP to port 443", []string{PathTURN, PathTURNS}, onlyTCP443()...)
	nginxTCP.Front = FrontStream
	httpOnly := home("httponly", "nginx is a reverse proxy for HTTP, and the client reaches nothing else", []string{PathWebSocket}, onlyTCP443()...)
	httpOnly.Front = FrontHTTP
	unreachable := home("unreachable", "the same, and the server offers no media through a WebSocket", nil, onlyTCP443()...)
	unreachable.Front, unreachable.TunnelOff, unreachable.Code = FrontHTTP, true, "NO_ROUTE"
	return []Profile{
		{Name: "nat11", Summary: "the server is behind 1:1 NAT without hairpin; the doctor beside it, the patient outside",
			Paths: everyPath(), NAT11: true, build: serverNAT},
		nginx,
		nginxTCP,
		httpOnly,
		unreachable,
	}
}

// eventProfiles are those where something happens in mid-call.
func eventProfiles() []Profile {
	rebind := symmetric("rebind", "the NAT forgets its mappings in mid-call")
	rebind.Event = RebindEvent
	rebindTURN := symmetric("rebindturn", "the same, and of UDP only port 3478 is open, of TCP only TLS to port 443")
	rebindTURN.Event, rebindTURN.Paths, rebindTURN.build = RebindEvent, []string{PathTURNUDP, PathTURNS}, onlySTUNPort
	rebindTCP := symmetric("rebindtcp", "the same, and UDP is dropped")
	rebindTCP.Event, rebindTCP.Paths, rebindTCP.build = RebindEvent, tcpPaths(), noUDP
	handover := symmetric("handover", "the client's address changes in mid-call (Wi-Fi to mobile)")
	handover.Event, handover.build = HandoverEvent, secondNetwork
	restart := home("serverdies", "the server is killed in mid-call and comes back", everyPath())
	restart.Event = RestartEvent
	return []Profile{rebind, rebindTURN, rebindTCP, handover, restart}
}

// Narrow reports whether the link is too narrow for several calls at a time.
func (p Profile) Narrow() bool { return p.wire.Up > 0 || p.wire.Down > 0 }

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

// ServerURL is where clients find the server.
func ServerURL(tls bool) string {
	if tls {
		return "https://" + Host
	}
	return "http://" + net.JoinHostPort(Host, "443")
}
