package sfu

import (
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/stun/v4"
	"github.com/pion/webrtc/v4"
)

const (
	// followSilence is how long nothing must have come over the selected pair
	// before another address of the client is followed. A living path carries
	// RTP or RTCP far more often.
	followSilence = 1500 * time.Millisecond
	// followRemotes bounds how many of the client's addresses are remembered.
	followRemotes = 32
)

// follower lets the server follow a client whose NAT has given it another
// address in mid-call. ICE leaves that to the client, which is controlling, by
// nominating another pair; Firefox does not notice, since its own candidate is
// the same as before: it goes on with checks from an address that the server
// knows nothing of, and gets no answer on the one it uses.
//
// A check that comes here has passed MESSAGE-INTEGRITY (RFC 8445, section
// 7.3), so that only who knows the session's password can move it, and a check
// recorded on the way moves nothing while the path is alive.
type follower struct {
	now func() time.Time

	mu       sync.Mutex
	selected transportAddress // remote side of the selected pair
	remotes  map[transportAddress]remoteCandidate
}

// transportAddress is an address with its transport protocol.
type transportAddress struct {
	protocol string // "udp" or "tcp"
	address  string
	port     int
}

// remoteCandidate is what is needed of an ice.Candidate.
type remoteCandidate interface {
	LastReceived() time.Time
	NetworkType() ice.NetworkType
	Type() ice.CandidateType
}

func newFollower() *follower {
	return &follower{now: time.Now, remotes: map[transportAddress]remoteCandidate{}}
}

// install makes the PeerConnections of se follow their clients; watch must be
// called with the one that is made.
func (f *follower) install(se *webrtc.SettingEngine) {
	se.SetICEBindingRequestHandler(func(_ *stun.Message, _, remote ice.Candidate, _ *ice.CandidatePair) bool {
		return f.check(transportAddress{remote.NetworkType().NetworkShort(), remote.Address(), remote.Port()}, remote)
	})
}

// watch learns which pair is selected. It asks for events, since the agent must
// not be asked from within its own handler.
func (f *follower) watch(t *webrtc.ICETransport) {
	t.OnSelectedCandidatePairChange(func(pair *webrtc.ICECandidatePair) {
		r := pair.Remote
		f.selectedChanged(transportAddress{r.Protocol.String(), r.Address, int(r.Port)})
	})
}

func (f *follower) selectedChanged(a transportAddress) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.selected = a
}

// check takes an authenticated check and reports whether its pair is to become
// the selected one. It is called by the ICE agent's loop.
func (f *follower) check(from transportAddress, remote remoteCandidate) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.remember(from, remote)
	current := f.remotes[f.selected]
	if current == nil || from == f.selected {
		return false
	}
	if remote.Type() != ice.CandidateTypePeerReflexive || remote.NetworkType() != current.NetworkType() {
		return false // another path, which the client nominates when it wants it
	}
	if f.now().Sub(current.LastReceived()) < followSilence {
		return false
	}
	f.selected = from // the event comes later; until then this is the truth
	return true
}

// remember keeps a remote candidate; the one heard last goes when there are
// too many.
func (f *follower) remember(a transportAddress, c remoteCandidate) {
	f.remotes[a] = c
	if len(f.remotes) <= followRemotes {
		return
	}
	var oldest transportAddress
	var heard time.Time
	for a, c := range f.remotes {
		if a != f.selected && (heard.IsZero() || c.LastReceived().Before(heard)) {
			oldest, heard = a, c.LastReceived()
		}
	}
	delete(f.remotes, oldest)
}
