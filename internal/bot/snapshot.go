package bot

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pion/webrtc/v4"

	"consilium/internal/media"
	"consilium/signaling"
)

// pollInterval is how often Wait looks.
const pollInterval = 20 * time.Millisecond

// Snapshot is what a bot knows and has counted. It is a copy.
type Snapshot struct {
	Welcome      signaling.Welcome
	Participants []signaling.Participant
	Recording    signaling.RecordingBody
	Seats        signaling.Seats
	Events       []signaling.EventBody
	Ended        *signaling.Ended // nil while the session lives

	Connection webrtc.PeerConnectionState
	// Answered and Connected are when that first was so; zero before.
	Answered, Connected time.Time
	// Path of the media: local candidate type and protocol, "host udp"; of a
	// relay the protocol is that to the TURN server, "relay tls". "" before.
	Path string

	Resumes   int // sockets that took up the session
	Snapshots int // of those, with a snapshot

	Sent     []SentStats
	Received []TrackStats
}

// SentStats counts what one published source has sent.
type SentStats struct {
	Source          media.Source
	MID             string
	Packets, Frames uint64
	Skipped         uint64         // frames that this machine was too busy for
	NACKs           map[uint16]int // how often each sequence number was asked for
	PLIs            int
}

// Participant finds a participant by identity, nil if there is none.
func (s *Snapshot) Participant(identity string) *signaling.Participant {
	for i := range s.Participants {
		if s.Participants[i].Identity == identity {
			return &s.Participants[i]
		}
	}
	return nil
}

// From returns the counts of what somebody publishes from a source, or zero
// counts if nothing came.
func (s *Snapshot) From(identity string, source media.Source) TrackStats {
	p := s.Participant(identity)
	if p == nil {
		return TrackStats{}
	}
	var found TrackStats
	for _, track := range p.Tracks {
		if track.Source != string(source) {
			continue
		}
		for _, received := range s.Received {
			if received.ID == track.ID && received.Packets >= found.Packets {
				found = received
			}
		}
	}
	return found
}

// Event reports whether an event of the type has come, and the last one.
func (s *Snapshot) Event(kind string) (signaling.EventBody, bool) {
	for _, e := range slices.Backward(s.Events) {
		if e.Type == kind {
			return e, true
		}
	}
	return signaling.EventBody{}, false
}

// Snapshot returns what has happened so far.
func (b *Bot) Snapshot() Snapshot {
	b.mu.Lock()
	s := Snapshot{
		Welcome:      b.welcome,
		Participants: slices.Clone(b.state.Participants),
		Recording:    b.state.Recording,
		Seats:        b.seats,
		Events:       slices.Clone(b.events),
		Ended:        b.ended,
		Answered:     b.answered,
		Connected:    b.connected,
		Resumes:      b.resumes,
		Snapshots:    b.snapshots,
	}
	peer := b.peer
	b.mu.Unlock()
	if peer != nil {
		peer.describe(&s)
	}
	return s
}

func (p *peer) describe(s *Snapshot) {
	s.Connection = p.pc.ConnectionState()
	// Before, Pion's transports are being set up and must not be asked.
	if s.Connection != webrtc.PeerConnectionStateNew && s.Connection != webrtc.PeerConnectionStateConnecting {
		s.Path = p.path()
	}
	s.Received = p.tracks()
	p.mu.Lock()
	senders := slices.Clone(p.senders)
	p.mu.Unlock()
	for _, sender := range senders {
		s.Sent = append(s.Sent, sender.stats())
	}
}

// path names the selected pair.
func (p *peer) path() string {
	transport := p.pc.SCTP()
	if transport == nil || transport.Transport() == nil {
		return ""
	}
	pair, err := transport.Transport().ICETransport().GetSelectedCandidatePair()
	if err != nil || pair == nil {
		return ""
	}
	if pair.Local.Typ == webrtc.ICECandidateTypeRelay {
		return "relay " + p.relayProtocol()
	}
	return pair.Local.Typ.String() + " " + pair.Local.Protocol.String()
}

// relayProtocol is the transport to the TURN server in use.
func (p *peer) relayProtocol() string {
	report := p.pc.GetStats()
	for _, stats := range report {
		pair, ok := stats.(webrtc.ICECandidatePairStats)
		if !ok || !pair.Nominated {
			continue
		}
		local, ok := report[pair.LocalCandidateID].(webrtc.ICECandidateStats)
		if ok && local.CandidateType == webrtc.ICECandidateTypeRelay {
			return local.RelayProtocol
		}
	}
	return "unknown"
}

func (s *sender) stats() SentStats {
	out := SentStats{Source: s.source, MID: s.mid(), Skipped: s.player.Skipped(), NACKs: map[uint16]int{}}
	out.Packets, out.Frames = s.player.Sent()
	s.mu.Lock()
	defer s.mu.Unlock()
	out.PLIs = s.plis
	maps.Copy(out.NACKs, s.nacks)
	return out
}

// Wait returns when cond holds. what names it for the error, which carries the
// last snapshot in short.
func (b *Bot) Wait(ctx context.Context, what string, cond func(*Snapshot) bool) error {
	err := wait(ctx, what, b.Snapshot, b.done, cond)
	if errors.Is(err, errEnded) && b.Err() != nil {
		err = fmt.Errorf("%w: %w", err, b.Err())
	}
	return err
}

// wait looks at snapshots until cond holds, or done or ctx ends.
func wait(ctx context.Context, what string, take func() Snapshot, done <-chan struct{}, cond func(*Snapshot) bool) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		s := take()
		if cond(&s) {
			return nil
		}
		select {
		case <-ticker.C:
		case <-done:
			if s = take(); cond(&s) {
				return nil
			}
			return fmt.Errorf("wait for %s: %w: %s", what, errEnded, s.short())
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w: %s", what, ctx.Err(), s.short())
		}
	}
}

// WaitConnected returns when media is connected.
func (b *Bot) WaitConnected(ctx context.Context) error {
	return b.Wait(ctx, "connection", func(s *Snapshot) bool { return !s.Connected.IsZero() })
}

// WaitFrames returns when n frames of somebody's source have come.
func (b *Bot) WaitFrames(ctx context.Context, identity string, source media.Source, n uint64) error {
	what := fmt.Sprintf("%d frames of %s's %s", n, identity, source)
	return b.Wait(ctx, what, func(s *Snapshot) bool { return s.From(identity, source).Frames >= n })
}

func (s *Snapshot) short() string {
	var out strings.Builder
	out.WriteString(fmt.Sprintf("%s is %s, %d participants", s.Welcome.Identity, s.Connection, len(s.Participants)))
	for _, t := range s.Received {
		out.WriteString(fmt.Sprintf("; mid %s track %q: %d packets, %d frames", t.MID, t.ID, t.Packets, t.Frames))
	}
	if s.Ended != nil {
		out.WriteString(fmt.Sprintf("; ended: %s %s", s.Ended.Reason, s.Ended.Code))
	}
	return out.String()
}
