package turn

import (
	"net"
	"strings"

	pion "github.com/pion/turn/v5"
)

// Channel numbers of RFC 5766 section 11, which Pion does not check. RFC 8656
// ends at 0x4FFF, but clients of the older one choose from all.
const (
	minChannel = 0x4000
	maxChannel = 0x7FFF
)

// events are Pion's callbacks. They run under Pion's locks, so they only count,
// and close what Pion will find closed later.
func (s *Server) events() pion.EventHandler {
	return pion.EventHandler{
		OnAuth: func(_, _ net.Addr, _, _, _, _ string, verdict bool) {
			if !verdict {
				s.stats.denied[deniedIntegrity].Add(1)
			}
		},
		OnAllocationCreated: func(src, dst net.Addr, _, _, _ string, _ net.Addr, _ int) {
			s.stats.created.Add(1)
			s.clients.allocated(src, dst, true)
		},
		OnAllocationDeleted: func(src, dst net.Addr, _, _, _ string) {
			s.clients.allocated(src, dst, false)
		},
		OnPermissionCreated: func(_, _ net.Addr, _, _, _ string, relayed net.Addr, _ net.IP) {
			s.peerAdded(relayed, func(r *relay) int32 { return r.permissions.Add(1) })
		},
		OnPermissionDeleted: func(_, _ net.Addr, _, _, _ string, relayed net.Addr, _ net.IP) {
			if r := s.accounts.relayAt(relayed.String()); r != nil {
				r.permissions.Add(-1)
			}
		},
		OnChannelCreated: func(_, _ net.Addr, _, _, _ string, relayed, _ net.Addr, number uint16) {
			if number < minChannel || number > maxChannel {
				s.kill(s.accounts.relayAt(relayed.String()), deniedChannel)
				return
			}
			s.peerAdded(relayed, func(r *relay) int32 { return r.channels.Add(1) })
		},
		OnChannelDeleted: func(_, _ net.Addr, _, _, _ string, relayed, _ net.Addr, _ uint16) {
			if r := s.accounts.relayAt(relayed.String()); r != nil {
				r.channels.Add(-1)
			}
		},
	}
}

// peerAdded counts a permission or channel of an allocation and ends the
// allocation if it has too many.
func (s *Server) peerAdded(relayed net.Addr, count func(*relay) int32) {
	if r := s.accounts.relayAt(relayed.String()); r != nil && count(r) > maxPeers {
		s.kill(r, deniedTooManyPeers)
	}
}

// kill ends an allocation whose client breaks the rules. Pion has granted what
// he asked for and has no way to take it back.
func (s *Server) kill(r *relay, why denial) {
	if r != nil {
		s.stats.denied[why].Add(1)
		_ = r.Close()
	}
}

// permit is Pion's PermissionHandler. It knows the peer's IP only; the port is
// looked at in relay.WriteTo.
func (s *Server) permit(_ net.Addr, peer net.IP) bool {
	if s.media.hasIP(peer) {
		return true
	}
	s.stats.denied[deniedPeer].Add(1)
	return false
}

// withinQuota is Pion's QuotaHandler; false is answered with 486. It only looks:
// what counts is decided in AllocatePacketConn, where it can't be raced.
func (s *Server) withinQuota(name, _ string, _ net.Addr) bool {
	if s.accounts.room(name, s.limitsOf(name).Allocations) {
		return true
	}
	s.stats.denied[deniedQuota].Add(1)
	return false
}

func (s *Server) limitsOf(name string) Limits {
	if strings.HasPrefix(name, sessionMark) {
		return s.cfg.PerSession
	}
	return s.cfg.PerUser
}
