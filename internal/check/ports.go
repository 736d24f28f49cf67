package check

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// socket is something the server listens on.
type socket struct {
	network string // tcp or udp
	address string // host:port
	key     string // of the configuration
}

// ports tries to listen on everything that the server would.
func (c *checker) ports(ctx context.Context) []Finding {
	var findings []Finding
	for _, s := range c.sockets() {
		findings = append(findings, c.listen(ctx, s))
	}
	return findings
}

// sockets lists what the server listens on. A port of 0 is any free one.
func (c *checker) sockets() []socket {
	var all []socket
	add := func(network, address, key string) {
		s := socket{network, address, key}
		_, port, _ := net.SplitHostPort(address) // validated
		same := func(o socket) bool { return o.network == s.network && o.address == s.address }
		if port != "0" && !slices.ContainsFunc(all, same) {
			all = append(all, s)
		}
	}
	everywhere := map[string]bool{} // ports of http.address without a host
	for _, address := range c.cfg.HTTP.Address {
		add("tcp", address, "http.address")
		if host, port, _ := net.SplitHostPort(address); host == "" {
			everywhere[port] = true
		}
	}
	if address := c.cfg.Metrics.Address; address != "" {
		add("tcp", address, "metrics.address")
	}
	for _, a := range c.media {
		at := func(port int) string { return netip.AddrPortFrom(a, uint16(port)).String() }
		if port := c.cfg.Media.TCPPort; !everywhere[strconv.Itoa(port)] {
			add("tcp", at(port), "media.tcp_port")
		}
		add("udp", at(c.cfg.Media.UDPPort), "media.udp_port")
		if c.cfg.TURN.Enabled {
			add("udp", at(c.cfg.TURN.UDPPort), "turn.udp_port")
		}
	}
	return all
}

// listen tries one, and says who has it if somebody does.
func (c *checker) listen(ctx context.Context, s socket) Finding {
	check := s.network + " " + s.address
	err := try(ctx, s)
	switch {
	case err == nil:
		return ok(check, "free, for "+s.key)
	case errors.Is(err, syscall.EADDRINUSE):
		by := c.holder.of(s)
		if slices.ContainsFunc(by, process.isOurs) {
			return ok(check, "a running consilium has it: "+list(by))
		}
		if len(by) == 0 {
			return failure(check, s.key+": somebody has it; who, can't be seen", "run check as root to see who has it, or choose another port")
		}
		return failure(check, s.key+": "+list(by)+" has it", "stop that, or choose another port")
	case errors.Is(err, syscall.EACCES):
		return failure(check, s.key+": this user may not listen on a port below 1024",
			"in the systemd unit: AmbientCapabilities=CAP_NET_BIND_SERVICE; by hand: setcap cap_net_bind_service=+ep consilium")
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return failure(check, s.key+": this machine has no such address", "name one of its own, or write \":PORT\" for all of them")
	default:
		return failure(check, fmt.Sprintf("%s: %v", s.key, err), "choose another address or port")
	}
}

// try listens for a moment.
func try(ctx context.Context, s socket) error {
	config := net.ListenConfig{}
	if s.network == "udp" {
		conn, err := config.ListenPacket(ctx, s.network, s.address)
		if err != nil {
			return err
		}
		return conn.Close()
	}
	l, err := config.Listen(ctx, s.network, s.address)
	if err != nil {
		return err
	}
	return l.Close()
}

func list(all []process) string {
	var words []string
	for _, p := range all {
		words = append(words, fmt.Sprintf("%s (process %d)", p.name, p.id))
	}
	return strings.Join(words, ", ")
}
