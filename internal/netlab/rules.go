package netlab

import (
	"context"
	"fmt"
)

// established lets answers through a firewall.
const established = "ct state established,related accept"

// onlyTCP443 lets TCP to port 443 through, and nothing else.
func onlyTCP443() []string { return []string{established, "tcp dport 443 accept", "drop"} }

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
	life := fmt.Sprintf("=%.0f", MappingLife.Seconds())
	return l.Router.sysctl(ctx, "net.netfilter.nf_conntrack_udp_timeout"+life, "net.netfilter.nf_conntrack_udp_timeout_stream"+life)
}

// onlyTLS lets TCP to port 443 through whose first byte is that of a TLS
// handshake record (RFC 8446, section 5.1), and resets other flows.
func onlyTLS(ctx context.Context, l *Lab) error {
	if err := masquerade("")(ctx, l); err != nil {
		return err
	}
	return forwardRules(ctx, l, mustOpenTLS()...)
}

func mustOpenTLS() []string {
	opening := "iifname in0 tcp dport 443 ct original packets < 5 @ih,0,8 "
	return append([]string{opening + "0x00-0x15 reject with tcp reset", opening + "0x17-0xff reject with tcp reset"}, onlyTCP443()...)
}

// onlySTUNPort is onlyTLS and, of UDP, the port of STUN.
func onlySTUNPort(ctx context.Context, l *Lab) error {
	if err := masquerade("fully-random")(ctx, l); err != nil {
		return err
	}
	return forwardRules(ctx, l, append([]string{"udp dport 3478 accept", "udp sport 3478 accept"}, mustOpenTLS()...)...)
}

// noUDP is for profiles whose NAT is not the usual one.
func noUDP(ctx context.Context, l *Lab) error {
	if err := masquerade("fully-random")(ctx, l); err != nil {
		return err
	}
	return forwardRules(ctx, l, "meta l4proto udp drop")
}

// interception leads TCP to port 443 to the router's own proxy and forwards
// nothing.
func interception(ctx context.Context, l *Lab) error {
	if err := forwardRules(ctx, l, "drop"); err != nil {
		return err
	}
	return l.Router.nft(ctx, "add table inet intercept\n"+
		"add chain inet intercept pre { type nat hook prerouting priority -100; }\n"+
		"add rule inet intercept pre iifname in0 tcp dport 443 redirect to :"+interceptPort+"\n")
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
