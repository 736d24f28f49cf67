package turn

import (
	"maps"
	"sync"
	"sync/atomic"
)

// denial is why a request was refused.
type denial uint8

const (
	deniedRealm denial = iota
	deniedUsername
	deniedExpired
	deniedSession
	deniedIntegrity
	deniedQuota
	deniedCapacity
	deniedTCPRelay
	deniedFamily
	deniedPeer
	deniedPermissions
	deniedChannels
	deniedChannel
	deniedConnections
	denials
)

func (d denial) String() string {
	return [...]string{"realm", "username", "expired", "session_ended", "integrity", "quota", "capacity",
		"tcp_relay", "family", "peer", "permissions", "channels", "channel_number", "connections"}[d]
}

// drop is why a datagram was dropped.
type drop uint8

const (
	dropNotMedia       drop = iota // closed relay: the peer is not a media address of the SFU
	dropPeer                       // open relay: to or from a peer that it must not reach
	dropSend                       // open relay: the kernel did not take it: no route, or a broadcast address
	dropBandwidth                  // over the limit of the credential
	dropTotalBandwidth             // over the limit of all together
	dropReflect                    // an answer to somebody unauthenticated, over the rate for his network
	dropMalformed                  // not STUN to the end, or with a wrong fingerprint
	drops
)

func (d drop) String() string {
	return [...]string{"not_media", "peer", "send", "bandwidth", "bandwidth_total", "reflection", "malformed"}[d]
}

// Allocations labels allocations by the transport of the client ("udp", "tcp")
// and the family of the relayed address ("ipv4", "ipv6").
type Allocations struct{ Transport, Family string }

// Stats is a snapshot. Allocations to Connections are what is there now, the
// rest totals since the start.
type Stats struct {
	Allocations map[Allocations]int
	Permissions int
	Channels    int
	Connections int // TCP

	Created         uint64            // allocations
	Denied          map[string]uint64 // requests refused, by reason
	BytesFromClient uint64            // relayed to the SFU
	BytesToClient   uint64            // relayed from the SFU
	Dropped         map[string]uint64 // datagrams, by reason
}

type counters struct {
	created              atomic.Uint64
	fromClient, toClient atomic.Uint64
	denied               [denials]atomic.Uint64
	dropped              [drops]atomic.Uint64

	mu   sync.Mutex
	open map[Allocations]int
}

func (c *counters) opened(a Allocations, by int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = make(map[Allocations]int)
	}
	c.open[a] += by
}

// Stats returns what is open and what happened so far.
func (s *Server) Stats() Stats {
	c := &s.stats
	out := Stats{
		Permissions:     s.accounts.holding(permission),
		Channels:        s.accounts.holding(channel),
		Connections:     s.clients.count(),
		Created:         c.created.Load(),
		BytesFromClient: c.fromClient.Load(),
		BytesToClient:   c.toClient.Load(),
		Denied:          make(map[string]uint64, denials),
		Dropped:         make(map[string]uint64, drops),
	}
	for d := range denials {
		out.Denied[d.String()] = c.denied[d].Load()
	}
	for d := range drops {
		out.Dropped[d.String()] = c.dropped[d].Load()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	out.Allocations = maps.Clone(c.open)
	return out
}
