package turn

import (
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"sync"

	pion "github.com/pion/turn/v5"
)

// relay is an allocation's relayed transport address. It lets through what
// goes to peers that there may be, within the account's bandwidth and that of
// all.
type relay struct {
	net.PacketConn
	srv     *Server
	relayed *net.UDPAddr // as the client knows it
	labels  Allocations
	account *account // set by accounts.add
	held    holdings // guarded by accounts.mu

	closeOnce sync.Once
	closeErr  error
	readDone  sync.Once
}

// WriteTo relays what the client sends.
func (r *relay) WriteTo(b []byte, to net.Addr) (int, error) {
	s := r.srv
	udp, ok := to.(*net.UDPAddr)
	if !ok || !s.reach.mayRelay(udp.AddrPort()) {
		why := dropNotMedia
		if s.open != nil {
			why = dropPeer
		}
		s.stats.dropped[why].Add(1)
		return len(b), nil
	}
	if why, ok := spend(r.account.up, s.accounts.up, len(b)); !ok {
		s.stats.dropped[why].Add(1)
		return len(b), nil
	}
	n, err := r.PacketConn.WriteTo(b, to)
	s.stats.fromClient.Add(uint64(n))
	return n, err
}

// ReadFrom gives Pion what is to go to the client. Pion has one goroutine per
// allocation in it, which ends with the first error.
func (r *relay) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := r.PacketConn.ReadFrom(b)
		if err != nil {
			r.readDone.Do(r.srv.wg.Done)
			return n, from, err
		}
		if why, ok := spend(r.account.down, r.srv.accounts.down, n); !ok {
			r.srv.stats.dropped[why].Add(1)
			continue
		}
		r.srv.stats.toClient.Add(uint64(n))
		return n, from, nil
	}
}

// Close ends the allocation: Pion deletes it when its reader fails.
func (r *relay) Close() error {
	r.closeOnce.Do(func() {
		r.srv.accounts.remove(r)
		r.srv.stats.opened(r.labels, -1)
		r.closeErr = r.PacketConn.Close() // last: it lets the reader go
	})
	return r.closeErr
}

// generator is Pion's RelayAddressGenerator, one per transport of clients.
type generator struct {
	srv       *Server
	transport string // "udp" or "tcp"
}

var (
	errQuota    = errors.New("allocation quota reached")
	errTCPRelay = errors.New("TCP relaying (RFC 6062) is not offered")
	errRevoked  = errors.New("session has ended")
)

// Validate implements pion.RelayAddressGenerator.
func (g *generator) Validate() error { return nil }

// AllocatePacketConn opens a relay for an authenticated user. Pion answers 508
// to every error.
func (g *generator) AllocatePacketConn(cfg pion.AllocateListenerConfig) (net.PacketConn, net.Addr, error) {
	s := g.srv
	if cfg.UserID == "" {
		return s.probe()
	}
	inner, relayed, err := s.openRelay(cfg.Network, uint16(cfg.RequestedPort))
	if err != nil {
		return nil, nil, err
	}
	r := &relay{PacketConn: inner, srv: s, relayed: relayed, labels: Allocations{Transport: g.transport, Family: "ipv4"}}
	if cfg.Network == "udp6" {
		r.labels.Family = "ipv6"
	}
	if why, ok := s.accounts.add(r, cfg.UserID, s.limitsOf(cfg.UserID)); !ok {
		s.stats.denied[why].Add(1)
		_ = inner.Close()
		return nil, nil, errQuota
	}
	s.stats.opened(r.labels, +1)
	// The session may have ended, and Revoke have been called, since the
	// request was authenticated.
	if id, ok := strings.CutPrefix(cfg.UserID, sessionMark); ok && !s.cfg.Live(id) {
		s.stats.denied[deniedSession].Add(1)
		_ = r.Close()
		return nil, nil, errRevoked
	}
	s.wg.Add(1)
	return r, r.relayed, nil
}

// openRelay opens what an allocation relays through and returns it with its
// relayed address.
func (s *Server) openRelay(network string, port uint16) (net.PacketConn, *net.UDPAddr, error) {
	if s.open == nil {
		conn, err := s.cfg.OpenRelay(network, port)
		if err != nil {
			s.stats.denied[deniedFamily].Add(1)
			return nil, nil, err
		}
		return conn, conn.LocalAddr().(*net.UDPAddr), nil
	}
	conn, relayed, err := s.open.listen(network, port)
	switch {
	case errors.Is(err, errNoFamily):
		s.stats.denied[deniedFamily].Add(1)
		return nil, nil, err
	case err != nil:
		s.stats.denied[deniedCapacity].Add(1)
		return nil, nil, err
	}
	return conn, net.UDPAddrFromAddrPort(relayed), nil
}

// probe is what Pion gets when it looks for an even port (RFC 8656 section
// 7.2): it opens relays for nobody and closes them until one has an even port,
// and then asks for a relay with that port. So it is told an even one at once:
// virtual addresses have every port free, and an open relay takes it for a wish.
type probe struct {
	net.PacketConn // nil: a probe is only closed
}

func (s *Server) probe() (net.PacketConn, net.Addr, error) {
	const first, pairs = 1024, (65536 - 1024) / 2
	port := first + 2*rand.N(pairs)
	if s.open != nil {
		port = int(s.cfg.Open.FirstPort+1) &^ 1
	}
	return probe{}, &net.UDPAddr{IP: net.IPv4zero, Port: port}, nil
}

// Close does nothing.
func (probe) Close() error { return nil }

// AllocateListener refuses TCP allocations.
func (g *generator) AllocateListener(pion.AllocateListenerConfig) (net.Listener, net.Addr, error) {
	g.srv.stats.denied[deniedTCPRelay].Add(1)
	return nil, nil, errTCPRelay
}

// AllocateConn refuses to dial.
func (g *generator) AllocateConn(pion.AllocateConnConfig) (net.Conn, error) {
	g.srv.stats.denied[deniedTCPRelay].Add(1)
	return nil, errTCPRelay
}
