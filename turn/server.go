package turn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"

	pion "github.com/pion/turn/v5"
)

// Server is a TURN and STUN server.
type Server struct {
	cfg      Config
	log      *slog.Logger
	reach    reach
	open     *openRelay // nil: the relay is closed
	secrets  *secrets
	accounts *accounts
	clients  *clients
	bindKeys *bindKeys
	authLog  *sampled
	stats    counters

	failed chan error     // a listener ended by itself
	wg     sync.WaitGroup // one per reading goroutine of Pion: listener, connection, allocation
}

// New returns a Server for cfg. It starts nothing.
func New(cfg Config) (*Server, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	media := newMediaSet(cfg.Media)
	s := &Server{
		cfg:      cfg,
		log:      cfg.Log,
		reach:    media,
		secrets:  newSecrets(cfg.Realm, cfg.Secrets),
		accounts: newAccounts(cfg.Total),
		clients:  newClients(),
		bindKeys: newBindKeys(),
		authLog:  newSampled(),
		failed:   make(chan error, 1),
	}
	if cfg.Open != nil {
		var err error
		if s.open, err = newOpenRelay(*cfg.Open, media, &s.stats); err != nil {
			return nil, err
		}
		s.reach = s.open
	}
	return s, nil
}

// Run serves until ctx ends or a listener fails. It closes the listeners, every
// connection and every allocation, and returns when all have ended. It must be
// called once.
func (s *Server) Run(ctx context.Context) error {
	cfg := pion.ServerConfig{
		Realm:         s.cfg.Realm,
		AuthHandler:   s.authenticate,
		QuotaHandler:  s.withinQuota,
		EventHandler:  s.events(),
		LoggerFactory: loggerFactory{s.log},
		InboundMTU:    maxFrame,
	}
	for _, c := range s.cfg.UDP {
		s.wg.Add(1)
		cfg.PacketConnConfigs = append(cfg.PacketConnConfigs, pion.PacketConnConfig{
			PacketConn:            &udpConn{PacketConn: c, srv: s, answers: newReflection()},
			RelayAddressGenerator: &generator{srv: s, transport: "udp"},
			PermissionHandler:     s.permit,
		})
	}
	for _, l := range s.cfg.TCP {
		s.wg.Add(1)
		cfg.ListenerConfigs = append(cfg.ListenerConfigs, pion.ListenerConfig{
			Listener:              &tcpListener{Listener: l, srv: s},
			RelayAddressGenerator: &generator{srv: s, transport: "tcp"},
			PermissionHandler:     s.permit,
		})
	}
	server, err := pion.NewServer(cfg)
	if err != nil {
		return fmt.Errorf("start TURN server: %w", err)
	}
	select {
	case <-ctx.Done():
	case err = <-s.failed:
	}
	closeErr := server.Close()
	s.clients.stop()
	s.wg.Wait()
	if ctx.Err() != nil {
		if closeErr != nil && !errors.Is(closeErr, net.ErrClosed) {
			s.log.Debug("TURN server closed", "err", closeErr)
		}
		return nil
	}
	return err
}

// stoppedReading notes that Pion has stopped reading a socket or listener.
func (s *Server) stoppedReading(addr net.Addr, err error) {
	select {
	case s.failed <- fmt.Errorf("TURN listener %s: %w", addr, err):
	default:
	}
	s.wg.Done()
}

// Mint returns a credential for a session or a user, signed with the current
// secret.
func (s *Server) Mint(kind Kind, id string) (Credential, error) {
	ttl := s.cfg.SessionTTL
	if kind == User {
		ttl = s.cfg.UserTTL
	}
	return mint(s.secrets.current(), kind, id, ttl, s.cfg.Now())
}

// SetSecrets replaces the secrets: the current one and, while credentials
// signed with it may still be out, the previous one. Running allocations go on,
// also those made with a secret that is no longer one of the two; it makes no
// new ones.
func (s *Server) SetSecrets(list ...string) error {
	if err := checkSecrets(list); err != nil {
		return err
	}
	s.secrets.set(list)
	return nil
}

// Revoke ends every allocation of a session at once. Config.Live must already
// say that the session has ended, or it may allocate again.
func (s *Server) Revoke(session string) {
	for _, r := range s.accounts.of(sessionMark + session) {
		_ = r.Close()
	}
}

// Transport tells by which transport, "udp" or "tcp", the client of a relay
// talks to us, given the address that the SFU sees the relay at; ok is false if
// nothing is relayed there. TLS is TCP.
func (s *Server) Transport(relayed netip.AddrPort) (transport string, ok bool) {
	if s.open != nil {
		if relayed, ok = s.open.relayed(relayed); !ok {
			return "", false
		}
	}
	if r := s.accounts.relayAt(relayed.String()); r != nil {
		return r.labels.Transport, true
	}
	return "", false
}
