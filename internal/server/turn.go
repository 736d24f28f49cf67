package server

import (
	"crypto/rand"
	"net"
	"net/netip"
	"net/url"
	"time"

	"consilium/internal/api"
	"consilium/internal/config"
	"consilium/signaling"
	"consilium/turn"
)

// behind tells how a client comes that is not where its address is: through a
// relay or the tunnel.
func (s *Server) behind(a netip.AddrPort) (path, protocol string, ok bool) {
	if s.tunnel != nil && s.tunnel.Tunnelled(a) {
		return "websocket", "tcp", true
	}
	if s.turn == nil {
		return "", "", false
	}
	protocol, ok = s.turn.Transport(a)
	return "relay", protocol, ok
}

func (s *Server) newTURN() (*turn.Server, error) {
	c := s.cfg.TURN
	s.turnKey = rand.Text() + rand.Text()
	open, err := s.openRelay()
	if err != nil {
		return nil, err
	}
	session := turn.Limits{
		Allocations: c.AllocationsPerSession, Permissions: c.PermissionsPerSession,
		Channels: c.ChannelsPerSession, Bandwidth: c.Bandwidth * 1000,
	}
	return turn.New(turn.Config{
		Realm: c.Realm, Secrets: s.turnSecrets(c), SessionTTL: c.TTL,
		UDP: s.network.stun, TCP: s.network.turn,
		Open: open,
		OpenRelay: func(network string, port uint16) (net.PacketConn, error) {
			p, err := s.network.media.OpenPeer(network, port)
			if err != nil {
				return nil, err // not p: a nil pointer is no nil interface
			}
			return p, nil
		},
		Media:      s.network.media.Advertised(),
		Live:       s.sfu.Lives,
		PerSession: session,
		PerUser: turn.Limits{
			Allocations: 4 * session.Allocations, Permissions: 4 * session.Permissions,
			Channels: 4 * session.Channels, Bandwidth: 4 * session.Bandwidth,
		},
		Total: turn.Limits{
			Allocations: c.MaxAllocations, Permissions: c.MaxPermissions,
			Channels: c.MaxChannels, Bandwidth: c.MaxBandwidth * 1000,
		},
		Log: s.log.With("part", "turn"),
	})
}

// turnSecrets are the secret of a configuration, or the one of this start, and
// the one before.
func (s *Server) turnSecrets(c config.TURN) []string {
	secrets := []string{string(c.Secret)}
	if c.Secret == "" {
		secrets[0] = s.turnKey
	}
	if c.PreviousSecret != "" && c.PreviousSecret != c.Secret {
		secrets = append(secrets, string(c.PreviousSecret))
	}
	return secrets
}

// reloadTURN takes over the secrets of a configuration; relays that run go on.
func (s *Server) reloadTURN(c config.Config) error {
	if s.turn == nil {
		return nil
	}
	return s.turn.SetSecrets(s.turnSecrets(c.TURN)...)
}

// turnURIs are the URIs of the embedded TURN server as clients reach it.
func (s *Server) turnURIs() []string {
	udp, tcp := 0, 0
	if len(s.network.stun) > 0 {
		udp = s.network.stun[0].LocalAddr().(*net.UDPAddr).Port
	}
	if len(s.network.turn) > 0 {
		tcp = s.network.tcpPort
	}
	secure := 0
	host := s.turnHost()
	// A certificate is for a name, and Firefox ignores turns: with an address.
	if _, err := netip.ParseAddr(host); err != nil && s.certs != nil {
		secure = tcp
	}
	return turn.URIs(host, udp, tcp, secure)
}

// turnHost is the host that clients know: that of the public URL, or else the
// first public address, or the first address offered for media that is not loopback.
func (s *Server) turnHost() string {
	if u, err := url.Parse(s.cfg.HTTP.PublicURL); err == nil && u.Hostname() != "" {
		a, err := netip.ParseAddr(u.Hostname())
		if err != nil && u.Hostname() != "localhost" || err == nil && !a.IsLoopback() {
			return u.Hostname()
		}
	}
	if len(s.network.public) > 0 {
		return s.network.public[0].Public.String()
	}
	for _, a := range s.network.addresses {
		if !a.IsLoopback() {
			return a.String()
		}
	}
	return s.network.addresses[0].String()
}

// iceServers mints the servers of one session or, before there is one, of the
// person who asks.
func (s *Server) iceServers(session, identity string) []signaling.ICEServer {
	if s.turn == nil {
		return nil
	}
	kind, id := turn.Session, session
	if session == "" {
		kind, id = turn.User, identity
	}
	c, err := s.turn.Mint(kind, id)
	if err != nil {
		s.log.Error("no TURN credential", "session", session, "identity", identity, "err", err)
		return nil
	}
	return []signaling.ICEServer{{URLs: s.turnURIs(), Username: c.Username, Credential: c.Password}}
}

// turnCredentials answers GET /v1/turn.
type turnCredentials struct{ s *Server }

func (t turnCredentials) Credentials(username string) (api.TURNCredentials, error) {
	c, err := t.s.turn.Mint(turn.User, username)
	if err != nil {
		return api.TURNCredentials{}, err
	}
	return api.TURNCredentials{
		Username: c.Username, Password: c.Password, TTL: int(c.TTL / time.Second), URIs: t.s.turnURIs(),
	}, nil
}
