package sfu

import (
	"net/netip"
	"time"

	"github.com/pion/webrtc/v4"

	"consilium/internal/event"
)

// A browser takes what answers first and goes over to UDP when that works, which
// takes it a second or two; udpSettled is when it has made up its mind. A path
// can change later: it is looked at every udpLook.
const (
	udpSettled = 3 * time.Second
	udpLook    = 2 * time.Second
)

// udpWatch is what is known of a session's UDP. Owned by the call's loop.
type udpWatch struct {
	offered int       // UDP candidates of the client's own
	looked  time.Time // when the path was last looked at
	blocked bool      // quality.poor was told
}

// watchUDP tells of a session that works and could be better: both ends offered
// UDP, the media goes over TCP, and not one check of the client's came by UDP.
// It is no failure, but whoever runs the client's network can do something.
func (x *Session) watchUDP(now time.Time) {
	st := &x.stages
	w := &st.udp
	if !st.connected() || now.Sub(st.dtlsAt) < udpSettled || now.Sub(w.looked) < udpLook {
		return
	}
	w.looked = now
	path := x.path()
	switch {
	case path.protocol == "udp":
		if w.blocked {
			w.blocked = false
			x.tellCall(event.Event{Type: event.QualityRecovered, Data: map[string]any{"path": path.kind, "protocol": path.protocol}})
		}
	case w.blocked || path.protocol == "" || w.offered == 0 || x.c.s.cfg.Network.UDP == nil:
	default:
		ports, came := x.peer.udpChecks(x.c.s.cfg.Network.public)
		if came || len(ports) == 0 {
			return
		}
		w.blocked = true
		x.tellCall(event.Event{
			Type: event.QualityPoor,
			Failure: event.Failure{Code: event.UDPBlocked, Stage: event.StageICE, Evidence: map[string]any{
				"udp_candidates": w.offered, "udp_ports": ports, "path": path.kind, "protocol": path.protocol,
			}},
			Data: map[string]any{"path": path.kind, "protocol": path.protocol},
		})
	}
}

// path is how a session's media goes.
type path struct {
	kind     string // direct, relay or tunnel
	protocol string // between the client and this server; "" is not known
	local    string
}

func (x *Session) path() path {
	pair := x.peer.selectedPair()
	if pair == nil {
		return path{kind: "direct"}
	}
	p := path{kind: "direct", protocol: pair.Local.Protocol.String(), local: pair.Local.Address}
	if kind, protocol, ok := x.peer.via(pair.Remote); ok {
		p.kind, p.protocol = kind, protocol
	}
	return p
}

// udpChecks lists the UDP ports that were offered, as the outside sees them, and
// reports whether a check of the client came to one of them without a relay.
func (p *peer) udpChecks(public func(netip.Addr) (netip.Addr, bool)) (ports []string, came bool) {
	stats := p.pc.GetStats()
	for _, s := range stats {
		switch s := s.(type) {
		case webrtc.ICECandidateStats:
			a, err := netip.ParseAddr(s.IP)
			if err != nil || s.Type != webrtc.StatsTypeLocalCandidate || s.Protocol != "udp" {
				continue
			}
			if outside, ok := public(a); ok {
				a = outside
			}
			ports = append(ports, netip.AddrPortFrom(a, uint16(s.Port)).String())
		case webrtc.ICECandidatePairStats:
			remote, ok := stats[s.RemoteCandidateID].(webrtc.ICECandidateStats)
			if !ok || s.RequestsReceived == 0 || remote.Protocol != "udp" {
				continue
			}
			_, _, relayed := p.via(&webrtc.ICECandidate{Address: remote.IP, Port: uint16(remote.Port)})
			came = came || !relayed
		}
	}
	return ports, came
}
