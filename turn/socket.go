package turn

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// relaySocket is the relayed transport address of an open relay: a UDP socket.
// It looks at every peer again, in both directions: what stood above it may be
// wrong, or true no longer.
type relaySocket struct {
	*net.UDPConn
	relay *openRelay
	local netip.AddrPort

	mu sync.Mutex
	// asked are media addresses that this client wrote to, by where they are:
	// answers come from the one it knows. There are no more of them than media
	// addresses.
	asked map[netip.AddrPort]netip.AddrPort
}

// listenRelay opens a UDP socket that can't send to a network's broadcast
// address, which may look like any other address.
func listenRelay(local netip.AddrPort) (*net.UDPConn, error) {
	network := "udp4"
	if local.Addr().Is6() {
		network = "udp6"
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var opt error
		if err := c.Control(func(fd uintptr) {
			opt = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 0)
		}); err != nil {
			return err
		}
		return opt
	}}
	conn, err := lc.ListenPacket(context.Background(), network, local.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil // ListenPacket of a UDP network returns no other
}

// isTaken reports whether a port is another's.
func isTaken(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }

// WriteTo sends b to a peer. A peer that can't be reached, or must not be,
// costs the datagram and is counted; the sender would not learn of it from the
// network either.
func (s *relaySocket) WriteTo(b []byte, to net.Addr) (int, error) {
	udp, ok := to.(*net.UDPAddr)
	if !ok {
		return s.drop(dropPeer, b)
	}
	peer := udp.AddrPort()
	local, inside := s.relay.inside(peer)
	switch {
	case inside && local != peer:
		s.ask(local, peer)
	case inside:
	case s.relay.mayRelay(peer):
		local = peer
	default:
		return s.drop(dropPeer, b)
	}
	if _, err := s.WriteToUDPAddrPort(b, local); err != nil {
		if errors.Is(err, net.ErrClosed) {
			return 0, err
		}
		return s.drop(dropSend, b)
	}
	return len(b), nil
}

func (s *relaySocket) drop(why drop, b []byte) (int, error) {
	s.relay.stats.dropped[why].Add(1)
	return len(b), nil
}

// ask notes as which peer the client knows a local address of the SFU.
func (s *relaySocket) ask(local, peer netip.AddrPort) {
	if !s.relay.media.mayRelay(peer) {
		return // another relay, which is known by one address only
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[local] = peer
}

// ReadFrom returns a datagram of a peer. Only the end of the socket is an
// error: Pion would give the allocation up for any other.
func (s *relaySocket) ReadFrom(b []byte) (int, net.Addr, error) {
	const patience = 100 // errors in a row until the socket is given up
	for failures := 0; ; failures++ {
		n, from, err := s.ReadFromUDPAddrPort(b)
		if err != nil {
			if errors.Is(err, net.ErrClosed) || failures >= patience {
				return n, nil, err
			}
			continue
		}
		failures = -1
		peer, ok := s.peer(from)
		if !ok {
			s.relay.stats.dropped[dropPeer].Add(1)
			continue
		}
		return n, net.UDPAddrFromAddrPort(peer), nil
	}
}

// peer returns as whom the client knows the source of a datagram; ok is false
// if it is nobody that a relay may talk to.
func (s *relaySocket) peer(from netip.AddrPort) (netip.AddrPort, bool) {
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	s.mu.Lock()
	asked, ok := s.asked[from]
	s.mu.Unlock()
	if ok {
		return asked, true
	}
	if relayed, ok := s.relay.relayed(from); ok {
		return relayed, true
	}
	return from, s.relay.mayRelay(from)
}

// Close ends a pending read and gives the port away.
func (s *relaySocket) Close() error {
	s.relay.closed(s.local)
	return s.UDPConn.Close()
}
