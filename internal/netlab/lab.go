package netlab

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// Host is the name by which clients know the server.
const Host = "clinic.test"

// Addresses of a lab, the same in every one.
const (
	ClientIPv4 = "10.9.0.2"
	ClientIPv6 = "2001:db8:9::2"
	// LaterIPv4 is the client's after Handover.
	LaterIPv4 = "10.7.0.2"
	// RouterIPv4 is the router's inside address, and RouterOutside the one
	// that the world sees.
	RouterIPv4    = "10.9.0.1"
	RouterOutside = "198.51.100.1"

	ServerIPv4 = "203.0.113.10"
	ServerIPv6 = "2001:db8:1::10"
	// SecondIPv4 is another address of the server's machine, for probing NATs.
	SecondIPv4 = "203.0.113.11"
	// PrivateIPv4 is the server's own address behind 1:1 NAT, where ServerIPv4
	// is the edge's.
	PrivateIPv4 = "10.8.0.10"

	// ProxyAddress is where the CONNECT proxy of profile "proxy" listens.
	ProxyAddress = RouterIPv4 + ":3128"
)

// Lab is a network of one profile. Methods may be called from one goroutine at
// a time.
type Lab struct {
	Profile Profile
	// Client, Router, Edge and Server are the namespaces: where people are,
	// their router, the router in front of the server, the server.
	Client, Router, Edge, Server Namespace

	wire        *wire
	proxy       *connectProxy
	interceptor *interceptor
}

// New builds a lab. It first removes what labs of dead processes have left.
func New(ctx context.Context, p Profile) (_ *Lab, err error) {
	if err := Check(); err != nil {
		return nil, err
	}
	if err := sweep(ctx); err != nil {
		return nil, fmt.Errorf("remove leftovers: %w", err)
	}
	base := Namespace(fmt.Sprintf("%s%d-%s-", prefix, os.Getpid(), strings.ToLower(rand.Text()[:4])))
	l := &Lab{Profile: p, Client: base + "cli", Router: base + "nat", Edge: base + "edg", Server: base + "srv"}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("build network %s: %w", p.Name, err), l.Close())
		}
	}()
	for _, n := range l.namespaces() {
		if err := n.add(ctx); err != nil {
			return nil, err
		}
	}
	if err := l.connect(ctx); err != nil {
		return nil, err
	}
	if err := l.setNames(); err != nil {
		return nil, err
	}
	if p.v4only {
		if err := l.Client.ip(ctx, "-6 addr flush dev eth0 scope global"); err != nil {
			return nil, err
		}
	}
	if p.build != nil {
		if err := p.build(ctx, l); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *Lab) namespaces() []Namespace { return []Namespace{l.Client, l.Router, l.Edge, l.Server} }

// Close stops the lab's own parts and removes its namespaces and whatever runs
// in them. It may be called again.
func (l *Lab) Close() error {
	var errs []error
	if l.proxy != nil {
		errs = append(errs, l.proxy.close())
		l.proxy = nil
	}
	if l.interceptor != nil {
		errs = append(errs, l.interceptor.close())
		l.interceptor = nil
	}
	if l.wire != nil {
		errs = append(errs, l.wire.close())
		l.wire = nil
	}
	for _, n := range l.namespaces() {
		if n.exists() {
			errs = append(errs, n.remove())
		}
	}
	return errors.Join(errs...)
}

// connect lays the cables and gives addresses and routes. The client's and the
// server's networks are 1500 bytes wide, whatever is between.
func (l *Lab) connect(ctx context.Context) error {
	if err := l.cable(ctx, l.Client, "eth0", l.Router, "in0"); err != nil {
		return err
	}
	if err := l.cable(ctx, l.Edge, "in0", l.Server, "eth0"); err != nil {
		return err
	}
	if err := l.middle(ctx); err != nil {
		return err
	}
	for _, n := range []Namespace{l.Router, l.Edge} {
		if err := n.sysctl(ctx, "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"); err != nil {
			return err
		}
	}
	steps := map[Namespace][]string{
		l.Client: {"addr add " + ClientIPv4 + "/24 dev eth0", "-6 addr add " + ClientIPv6 + "/64 dev eth0",
			"route add default via " + RouterIPv4, "-6 route add default via 2001:db8:9::1"},
		l.Router: {"addr add " + RouterIPv4 + "/24 dev in0", "-6 addr add 2001:db8:9::1/64 dev in0",
			"route add default via 198.51.100.2", "-6 route add default via 2001:db8:2::2"},
		l.Edge: {"addr add 203.0.113.1/24 dev in0", "-6 addr add 2001:db8:1::1/64 dev in0",
			"-6 route add 2001:db8:9::/64 via 2001:db8:2::1"},
		l.Server: {"addr add " + ServerIPv4 + "/24 dev eth0", "addr add " + SecondIPv4 + "/24 dev eth0", "-6 addr add " + ServerIPv6 + "/64 dev eth0",
			"route add default via 203.0.113.1", "-6 route add default via 2001:db8:1::1"},
	}
	for n, commands := range steps {
		for _, c := range commands {
			if err := n.ip(ctx, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// cable connects two namespaces.
func (l *Lab) cable(ctx context.Context, a Namespace, ifA string, b Namespace, ifB string) error {
	_, err := run(ctx, "ip", "link", "add", ifA, "netns", string(a), "type", "veth", "peer", "name", ifB, "netns", string(b))
	if err != nil {
		return err
	}
	return errors.Join(up(ctx, a, ifA), up(ctx, b, ifB))
}

// up brings an interface up; no address is tested for duplicates, which would
// take seconds.
func up(ctx context.Context, n Namespace, name string) error {
	if err := n.sysctl(ctx, "net.ipv6.conf."+name+".accept_dad=0"); err != nil {
		return err
	}
	return n.ip(ctx, "link set "+name+" up")
}

// middle connects the routers: by a cable, or by a wire that is slow.
func (l *Lab) middle(ctx context.Context) error {
	var err error
	if l.Profile.wire == (wireConfig{}) {
		err = l.cable(ctx, l.Router, "out0", l.Edge, "out0")
	} else {
		l.wire, err = newWire(l.Router, l.Edge, "out0", l.Profile.wire)
		if err == nil {
			err = errors.Join(up(ctx, l.Router, "out0"), up(ctx, l.Edge, "out0"))
		}
	}
	if err != nil {
		return err
	}
	for n, host := range map[Namespace]string{l.Router: "1", l.Edge: "2"} {
		for _, c := range []string{"addr add 198.51.100." + host + "/24 dev out0", "-6 addr add 2001:db8:2::" + host + "/64 dev out0"} {
			if err := n.ip(ctx, c); err != nil {
				return err
			}
		}
		if l.Profile.mtu != 0 {
			if err := n.ip(ctx, fmt.Sprintf("link set out0 mtu %d", l.Profile.mtu)); err != nil {
				return err
			}
		}
	}
	return nil
}

// setNames tells who is Host: for the client, and on the server's own network.
func (l *Lab) setNames() error {
	outside, inside := ServerIPv4+" "+Host+"\n"+ServerIPv6+" "+Host+"\n", ServerIPv4+" "+Host+"\n"
	if l.Profile.NAT11 {
		outside, inside = ServerIPv4+" "+Host+"\n", PrivateIPv4+" "+Host+"\n"
	}
	return errors.Join(l.Client.setHosts(outside), l.Server.setHosts(inside))
}

// ServerAddresses are the addresses of the server's own interface on which it
// is to serve.
func (l *Lab) ServerAddresses() []netip.Addr {
	if l.Profile.NAT11 {
		return []netip.Addr{netip.MustParseAddr(PrivateIPv4)}
	}
	return []netip.Addr{netip.MustParseAddr(ServerIPv4), netip.MustParseAddr(ServerIPv6)}
}

// Intercept starts the proxy of a profile with Intercept, which verifies servers
// by roots, and returns the authority that clients have to trust.
func (l *Lab) Intercept(roots *x509.CertPool) (*Authority, error) {
	p, err := startInterceptor(l.Router, map[string]string{Host: ServerIPv4}, roots)
	if err != nil {
		return nil, fmt.Errorf("start intercepting proxy: %w", err)
	}
	l.interceptor = p
	return p.authority, nil
}

// Rebind makes the router forget its mappings, as if it had been restarted:
// what the client sends from then on comes from other ports.
func (l *Lab) Rebind(ctx context.Context) error {
	_, err := output(l.Router.Command(ctx, "conntrack", "-F"))
	return err
}

// Mappings are the ports that the router shows the server's media port, by the
// client's port.
func (l *Lab) Mappings(ctx context.Context) (map[int]int, error) {
	out, err := output(l.Router.Command(ctx, "conntrack", "-L", "-p", "udp", "--orig-port-dst", "443"))
	if err != nil {
		return nil, fmt.Errorf("list mappings: %w", err)
	}
	return parseMappings(out), nil
}

// mappingPorts are the source port of a packet and the destination port of the
// answer in a line of conntrack.
var mappingPorts = regexp.MustCompile(`sport=(\d+) dport=443 .*sport=443 dport=(\d+)`)

func parseMappings(list string) map[int]int {
	mappings := map[int]int{}
	for _, found := range mappingPorts.FindAllStringSubmatch(list, -1) {
		client, errClient := strconv.Atoi(found[1])
		router, errRouter := strconv.Atoi(found[2])
		if errClient == nil && errRouter == nil {
			mappings[client] = router
		}
	}
	return mappings
}

// Handover takes the client from one network to another, with another address,
// as from Wi-Fi to a mobile network.
func (l *Lab) Handover(ctx context.Context) error {
	for _, step := range []string{"link set eth0 down", "addr add " + LaterIPv4 + "/24 dev eth1", "link set eth1 up", "route replace default via 10.7.0.1"} {
		if err := l.Client.ip(ctx, step); err != nil {
			return fmt.Errorf("hand over: %w", err)
		}
	}
	return nil
}

// Handback undoes a Handover, for the next one.
func (l *Lab) Handback(ctx context.Context) error {
	for _, step := range []string{"addr del " + LaterIPv4 + "/24 dev eth1", "link set eth1 down", "link set eth0 up", "route replace default via " + RouterIPv4} {
		if err := l.Client.ip(ctx, step); err != nil {
			return fmt.Errorf("hand back: %w", err)
		}
	}
	return nil
}
