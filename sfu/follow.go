package sfu

import (
	"log/slog"
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
// The same holds for a client that nominates another pair when its path has
// died, say TCP instead of UDP: a full agent keeps the pair of higher priority
// (RFC 8445, section 8.1.1), also when nothing comes over it any more.
//
// A check that comes here has passed MESSAGE-INTEGRITY (RFC 8445, section
// 7.3), so that only who knows the session's password can move it, and a check
// recorded on the way moves nothing while the path is alive.
type follower struct {
	log *slog.Logger
	now func() time.Time

	mu       sync.Mutex
	username string           // of the checks; an ICE restart changes it
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

func newFollower(log *slog.Logger) *follower {
	return &follower{log: log, now: time.Now, remotes: map[transportAddress]remoteCandidate{}}
}

// install makes the PeerConnections of se follow their clients; watch must be
// called with the one that is made.
func (f *follower) install(se *webrtc.SettingEngine) {
	se.SetICEBindingRequestHandler(func(m *stun.Message, _, remote ice.Candidate, _ *ice.CandidatePair) bool {
		from := transportAddress{remote.NetworkType().NetworkShort(), remote.Address(), remote.Port()}
		var username stun.Username
		_ = username.GetFrom(m) // the agent has compared it
		f.generation(username.String())
		return f.check(from, remote, m.Contains(stun.AttrUseCandidate))
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
	if f.selected != a {
		f.log.Debug("client's address", "protocol", a.protocol, "address", a.address, "port", a.port)
	}
	f.selected = a
}

// generation forgets everything when ICE was restarted: then the client finds
// and nominates a pair anew. The first check of all would seem to be a move,
// since the path of before is silent, and might come where nothing goes back.
func (f *follower) generation(username string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if username == f.username {
		return
	}
	f.username, f.selected = username, transportAddress{}
	clear(f.remotes)
}

// check takes an authenticated check, which may nominate its pair, and reports
// whether that is to become the selected one. It is called by the ICE agent's
// loop.
func (f *follower) check(from transportAddress, remote remoteCandidate, nominates bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.remember(from, remote)
	current := f.remotes[f.selected]
	if current == nil || from == f.selected {
		return false
	}
	moved := remote.Type() == ice.CandidateTypePeerReflexive && remote.NetworkType() == current.NetworkType()
	if !moved && !nominates {
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
