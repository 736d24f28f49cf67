package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/pion/ice/v4"

	"consilium/internal/config"
	"consilium/internal/localaddr"
	"consilium/internal/muxconn"
	"consilium/internal/pionlog"
	"consilium/internal/portmux"
	"consilium/sfu"
)

// ICE-TCP: packets waiting for the agent, bytes waiting for a slow client (a
// second of video at 2 Mbit/s: drops, not delay, must tell the sender), and how
// long a connection may take to show who it is.
const (
	tcpReadQueue   = 64
	tcpWriteBuffer = 256 << 10
	tcpFirstSTUN   = 10 * time.Second
)

// network is every socket of the server, open from New on.
type network struct {
	addresses []netip.Addr // of this machine, used for media
	public    []sfu.PublicAddress
	media     *muxconn.Group
	udp       ice.UDPMux
	tcp       ice.TCPMux // nil: no ICE-TCP
	stun      []net.PacketConn
	ports     []*portmux.Mux // one a TCP port
	http      []net.Listener // without TLS
	https     []net.Listener // inside TLS
	turn      []net.Listener
	tcpPort   int // of ICE-TCP and TURN over TCP

	httpAddress string // the first of http.address, with its real port
}

// secureConfig is TLS on the TCP ports.
type secureConfig struct {
	tls       *tls.Config             // nil: there is none
	untrusted func(portmux.Untrusted) // told of clients that refuse the certificate; may be nil
}

// openNetwork opens the sockets. What it has opened when one fails it closes.
func openNetwork(c config.Config, secure secureConfig, log *slog.Logger) (_ *network, err error) {
	n := &network{}
	defer func() {
		if err != nil {
			n.close()
		}
	}()
	n.addresses, err = chooseAddresses(c.Media, log)
	if err != nil {
		return nil, err
	}
	if n.public, err = publicAddresses(c.Media.PublicAddresses, n.addresses); err != nil {
		return nil, err
	}
	if err = n.openMedia(c, log); err != nil {
		return nil, err
	}
	if err = n.openSTUN(c); err != nil {
		return nil, err
	}
	if err = n.openTCP(c, secure, log); err != nil {
		return nil, err
	}
	return n, nil
}

// chooseAddresses applies the filter of the configuration, and says of every
// address that is not offered why.
func chooseAddresses(m config.Media, log *slog.Logger) ([]netip.Addr, error) {
	f, err := m.AddressFilter()
	if err != nil {
		return nil, err
	}
	all, err := localaddr.Interfaces()
	if err != nil {
		return nil, err
	}
	kept, excluded, err := localaddr.Select(all, f)
	if err != nil {
		return nil, err
	}
	for _, x := range excluded {
		log.Debug("address is not offered for media", "address", x.IP, "interface", x.Interface, "reason", x.Reason)
	}
	var chosen []netip.Addr
	for _, a := range kept {
		chosen = append(chosen, a.IP)
	}
	return chosen, nil
}

// publicAddresses pairs media.public_addresses with addresses of this machine.
func publicAddresses(list []string, local []netip.Addr) ([]sfu.PublicAddress, error) {
	var public []netip.Addr
	for _, text := range list {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("media.public_addresses: %w", err)
		}
		public = append(public, a)
	}
	pairs, err := localaddr.Pair(public, local)
	if err != nil {
		return nil, err
	}
	var all []sfu.PublicAddress
	for _, p := range pairs {
		all = append(all, sfu.PublicAddress(p))
	}
	return all, nil
}

// iceLite reports whether the server is an ICE-lite agent.
func iceLite(m config.Media) bool {
	return m.ICE == config.ICELite || m.ICE == config.ICEAuto && len(m.PublicAddresses) > 0
}

// listenMedia opens a media socket, which peers on the relay may also name by
// its public address.
func listenMedia(local netip.AddrPort, public []sfu.PublicAddress, log *slog.Logger) (*muxconn.Conn, error) {
	cfg := muxconn.Config{Log: log}
	for _, a := range public {
		if a.Local == local.Addr() {
			cfg.Public = append(cfg.Public, a.Public)
		}
	}
	return muxconn.Listen(local, cfg)
}

// portTries is how often the kernel is asked for a media port: what it chooses is
// free at one address, and may be taken at another.
const portTries = 10

// listenEverywhere opens one media socket an address, all with the same port,
// also when the kernel chooses it.
func (n *network) listenEverywhere(port uint16, log *slog.Logger) (conns []*muxconn.Conn, err error) {
	for range portTries {
		conns, err = n.listenOnce(port, log)
		if port != 0 || !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return conns, err
}

func (n *network) listenOnce(port uint16, log *slog.Logger) ([]*muxconn.Conn, error) {
	var conns []*muxconn.Conn
	for _, a := range n.addresses {
		conn, err := listenMedia(netip.AddrPortFrom(a, port), n.public, log)
		if err != nil {
			for _, c := range conns {
				_ = c.Close()
			}
			return nil, err
		}
		port = conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
		conns = append(conns, conn)
	}
	return conns, nil
}

// openMedia opens one UDP socket an address for media.
func (n *network) openMedia(c config.Config, log *slog.Logger) error {
	conns, err := n.listenEverywhere(uint16(c.Media.UDPPort), log)
	if err != nil {
		return fmt.Errorf("media.udp_port %d: %w", c.Media.UDPPort, err)
	}
	var muxes []ice.UDPMux
	group, err := muxconn.NewGroup(conns...)
	if err != nil {
		return err
	}
	n.media = group
	for _, conn := range conns {
		muxes = append(muxes, ice.NewUDPMuxDefault(ice.UDPMuxParams{
			UDPConn: conn, Logger: pionlog.New(log).NewLogger("udpmux"),
		}))
	}
	n.udp = muxes[0]
	if len(muxes) > 1 {
		n.udp = ice.NewMultiUDPMuxDefault(muxes...)
	}
	return nil
}

// openSTUN opens the UDP sockets of STUN and TURN, which must not be those of
// media: Chromium gives whatever comes from a STUN server's address to its
// STUN code, media too.
func (n *network) openSTUN(c config.Config) error {
	if !c.TURN.Enabled {
		return nil
	}
	port := c.TURN.UDPPort
	for _, a := range n.addresses {
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, uint16(port))))
		if err != nil {
			return fmt.Errorf("turn.udp_port %d: %w", c.TURN.UDPPort, err)
		}
		port = conn.LocalAddr().(*net.UDPAddr).Port // the same everywhere, also when the kernel chose it
		n.stun = append(n.stun, conn)
	}
	return nil
}

// openTCP opens the TCP ports: those of http.address, and media.tcp_port on
// every media address. Each port is told apart by first bytes; HTTP is
// answered only where http.address says so.
func (n *network) openTCP(c config.Config, secure secureConfig, log *slog.Logger) error {
	plan, err := planTCP(c, n.addresses)
	if err != nil {
		return err
	}
	for _, p := range plan {
		var ls []net.Listener
		for _, a := range p.listen {
			l, err := net.Listen("tcp", a)
			if err != nil {
				for _, l := range ls {
					_ = l.Close()
				}
				return fmt.Errorf("listen on tcp %s: %w", a, err)
			}
			ls = append(ls, l)
		}
		if n.httpAddress == "" {
			n.httpAddress = ls[0].Addr().String()
		}
		mux, err := portmux.New(portmux.Config{
			Listeners: ls, HTTPAllowed: p.http, TLS: secure.tls, Untrusted: secure.untrusted, Log: log,
		})
		if err != nil {
			return err
		}
		n.ports = append(n.ports, mux)
		n.http = append(n.http, mux.HTTP())
		n.https = append(n.https, mux.HTTPS())
		n.turn = append(n.turn, mux.TURN())
		if n.tcp == nil && p.media {
			n.tcpPort = ls[0].Addr().(*net.TCPAddr).Port
			n.tcp = ice.NewTCPMuxDefault(ice.TCPMuxParams{
				Listener: mux.ICE(), Logger: pionlog.New(log).NewLogger("tcpmux"),
				ReadBufferSize: tcpReadQueue, WriteBufferSize: tcpWriteBuffer,
				FirstStunBindTimeout: tcpFirstSTUN, AliveDurationForConnFromStun: tcpFirstSTUN,
			})
		} else {
			_ = mux.ICE().Close()
		}
	}
	return nil
}

// tcpPort is what listens on one TCP port.
type tcpPort struct {
	listen []string // host:port
	media  bool     // ICE-TCP is offered here
	http   func(local netip.Addr) bool
}

// planTCP says what to listen on. The port of http.address carries media as
// well unless media.tcp_port names another.
func planTCP(c config.Config, media []netip.Addr) ([]tcpPort, error) {
	mediaPort := c.Media.TCPPort
	byPort := map[int]*tcpPort{}
	var order []int
	at := func(port int) *tcpPort {
		if byPort[port] == nil {
			byPort[port] = &tcpPort{}
			order = append(order, port)
		}
		return byPort[port]
	}
	hosts := map[int][]netip.Addr{}
	everywhere := map[int]bool{}
	for _, address := range c.HTTP.Address {
		host, portText, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("http.address %q: %w", address, err)
		}
		port, err := strconv.Atoi(portText)
		if err != nil {
			return nil, fmt.Errorf("http.address %q: %w", address, err)
		}
		p := at(port)
		p.listen = append(p.listen, address)
		p.media = mediaPort == 0 || mediaPort == port
		if a, err := netip.ParseAddr(host); err == nil && !a.IsUnspecified() {
			hosts[port] = append(hosts[port], a.Unmap())
		} else {
			everywhere[port] = true
		}
	}
	if mediaPort != 0 {
		p := at(mediaPort)
		p.media = true
		for _, a := range media {
			if !everywhere[mediaPort] && !slices.Contains(hosts[mediaPort], a) {
				p.listen = append(p.listen, netip.AddrPortFrom(a, uint16(mediaPort)).String())
			}
		}
	}
	var plan []tcpPort
	for _, port := range order {
		p := byPort[port]
		allowed, all := hosts[port], everywhere[port]
		p.http = func(local netip.Addr) bool { return all || slices.Contains(allowed, local.Unmap()) }
		plan = append(plan, *p)
	}
	return plan, nil
}

// close closes what is open and not closed by the Run of its owner.
func (n *network) close() error {
	var errs []error
	for _, c := range n.stun {
		if err := c.Close(); !errors.Is(err, net.ErrClosed) { // turn closes what it was given
			errs = append(errs, err)
		}
	}
	if n.tcp != nil {
		errs = append(errs, n.tcp.Close())
	}
	if n.udp != nil {
		errs = append(errs, n.udp.Close())
	}
	for _, l := range slices.Concat(n.http, n.https) {
		_ = l.Close()
	}
	return errors.Join(errs...)
}
