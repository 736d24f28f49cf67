package turn

import (
	"math"
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
			s.hold(relayed, permission)
		},
		OnPermissionDeleted: func(_, _ net.Addr, _, _, _ string, relayed net.Addr, _ net.IP) {
			s.accounts.release(relayed.String(), permission)
		},
		OnChannelCreated: func(_, _ net.Addr, _, _, _ string, relayed, _ net.Addr, number uint16) {
			if number < minChannel || number > maxChannel {
				s.kill(s.accounts.relayAt(relayed.String()), deniedChannel)
				return
			}
			s.hold(relayed, channel)
		},
		OnChannelDeleted: func(_, _ net.Addr, _, _, _ string, relayed, _ net.Addr, _ uint16) {
			s.accounts.release(relayed.String(), channel)
		},
	}
}

// hold counts a permission or channel of an allocation and ends the allocation
// if it, its account or the server has too many.
func (s *Server) hold(relayed net.Addr, h holding) {
	most := maxPeers
	if s.open != nil {
		most = math.MaxInt // its account's limit is enough
	}
	if r, why, ok := s.accounts.hold(relayed.String(), h, most); !ok {
		s.kill(r, why)
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

// permit is Pion's PermissionHandler, asked at CreatePermission and ChannelBind.
// It knows the peer's IP only; the port is looked at in relay.WriteTo, at every
// datagram.
func (s *Server) permit(_ net.Addr, peer net.IP) bool {
	if s.reach.mayPermit(peer) {
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
