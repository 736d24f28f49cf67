package sfu

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"consilium/internal/event"
	"consilium/internal/media"
)

// track is a published track: the control side of an upTrack. Owned by the
// call's loop.
type track struct {
	x     *Session
	mid   string
	about media.Track
	up    *upTrack

	state    TrackState
	muted    bool
	since    time.Time // from when something is expected: announced, unmuted or resumed
	firstAt  time.Time // arrival of the first packet
	stalled  time.Time // arrival of the last packet before the stall; zero if none
	timedOut bool
}

func (t *track) info() TrackInfo {
	return TrackInfo{
		ID: t.about.ID, Session: t.x.id, Source: t.about.Source, Codec: t.about.Codec, Muted: t.muted, State: t.state,
	}
}

// announce makes, changes or ends the track of a sending m-line.
func (x *Session) announce(s SentTrack, active bool) error {
	if x.peer == nil {
		return fmt.Errorf("%w: publish before the first offer", ErrConflict)
	}
	line, ok := x.peer.line(s.MID)
	if !ok {
		return fmt.Errorf("%w: no sending m-line has mid %q", ErrNotFound, s.MID)
	}
	if !s.Source.Valid() || s.Source.Kind() != line.Kind {
		return fmt.Errorf("%w: m-line %q can't carry %q", ErrBadOffer, s.MID, s.Source)
	}
	if !x.person.Grants.publish(s.Source) {
		return fmt.Errorf("%w: publish %s", ErrNoGrant, s.Source)
	}
	if other := x.source(s.Source); active && other != nil && other.mid != s.MID {
		return fmt.Errorf("%w: %q is published on mid %q already", ErrConflict, s.Source, other.mid)
	}
	i := slices.IndexFunc(x.published, func(t *track) bool { return t.mid == s.MID })
	if i >= 0 && (!active || x.published[i].about.Source != s.Source) {
		x.published[i].end(media.EndUnpublished)
		x.published = slices.Delete(x.published, i, i+1)
		i = -1
	}
	switch {
	case !active:
	case i < 0:
		x.published = append(x.published, x.newTrack(s, line))
	default:
		x.published[i].setMuted(s.Muted)
	}
	return nil
}

func (x *Session) newTrack(s SentTrack, line upLine) *track {
	codec := line.codec()
	t := &track{
		x: x, mid: s.MID, state: TrackWaiting, since: time.Now(),
		about: media.Track{
			ID: newID(), Call: x.c.id, Participant: x.p.identity, Role: x.person.Role, Session: x.id,
			Kind: line.Kind, Source: s.Source, Codec: codec.Name, ClockRate: codec.ClockRate,
			Channels: codec.Channels, FMTP: codec.FMTP,
		},
	}
	t.up = x.peer.transport.publish(s.MID, t.about)
	if x.c.recording != nil {
		t.up.attach(x.c.recording.Track(t.about, t.up.requestKeyframe))
	}
	t.note("published", map[string]any{"codec": codec.Name, "source": string(s.Source), "mid": s.MID})
	t.setMuted(s.Muted)
	return t
}

func (g Grants) publish(s media.Source) bool {
	switch s {
	case media.Microphone:
		return g.PublishAudio
	case media.Camera:
		return g.PublishVideo
	default:
		return g.PublishScreen
	}
}

func (t *track) setMuted(muted bool) {
	if t.muted == muted {
		return
	}
	t.muted = muted
	now := time.Now()
	t.up.setMuted(muted, now)
	if muted {
		t.note("muted", nil)
		return
	}
	t.up.setBlocked(false)
	t.note("unmuted", nil)
	t.since = now
}

func (t *track) end(why media.EndReason) {
	if t.state == TrackEnded {
		return
	}
	t.state = TrackEnded
	t.x.c.alarm(RecordingAlarm{Track: t.about.ID})
	now := time.Now()
	st := t.up.stats()
	t.up.end(why, now)
	data := map[string]any{"reason": string(why), "packets": st.Packets, "bytes": st.Bytes, "lost": st.Lost,
		"repaired": st.Repaired, "duplicates": st.Duplicates}
	if !st.FirstPacket.IsZero() {
		data["duration_ms"] = st.Media.Milliseconds()
	}
	t.note("ended", data)
}

func (t *track) note(text string, data map[string]any) {
	if data == nil {
		data = map[string]any{}
	}
	data["text"] = text
	t.x.emit(event.Event{Type: event.NoteTrack, Track: t.about.ID, Data: data})
}

// watch moves the track through its states.
func (t *track) watch(now time.Time) {
	st := t.up.stats()
	cfg := t.x.c.s.cfg.Media
	switch t.state {
	case TrackWaiting:
		if !st.FirstPacket.IsZero() {
			t.firstAt = st.FirstPacket
			after := map[string]any{"after_ms": st.FirstPacket.Sub(t.since).Milliseconds()}
			late := t.timedOut
			t.flow(event.MediaFlowing, maps.Clone(after))
			if late { // what was given up has been rescued
				t.flow(event.MediaResumed, after)
			}
			return
		}
		from := t.since
		if a := t.x.stages.answered; a.After(from) {
			from = a
		}
		if !t.muted && !t.timedOut && now.Sub(from) >= t.x.patience() {
			t.timeout(now.Sub(from), st)
		}
	case TrackFlowing:
		if t.quiet(now, st, cfg.StallAfter) {
			t.state, t.stalled = TrackStalled, st.LastPacket
			t.tell(event.MediaStalled, event.Failure{Code: event.NoMediaOut, Stage: event.StageFlowing, Direction: event.Out},
				map[string]any{"silent_ms": now.Sub(st.LastPacket).Milliseconds()})
		}
	case TrackStalled:
		switch {
		case st.LastPacket.After(t.stalled):
			t.flow(event.MediaResumed, map[string]any{"after_ms": st.LastPacket.Sub(t.stalled).Milliseconds()})
		case t.muted:
		case !t.timedOut && now.Sub(later(t.stalled, t.since)) >= cfg.Timeout:
			t.timeout(now.Sub(t.stalled), st)
		}
	}
}

// quiet reports whether a flowing track has stopped although it should flow. A
// shared screen may send nothing while nothing changes: it is quiet when its
// connection is, which RTCP tells.
func (t *track) quiet(now time.Time, st upStats, limit time.Duration) bool {
	last := later(st.LastPacket, t.since)
	if t.muted {
		return false
	}
	if t.about.Source == media.Screen {
		last = later(last, st.LastRTCP)
		limit = max(limit, screenSilence)
	}
	return now.Sub(last) >= limit
}

// screenSilence is how long neither RTP nor RTCP may come of a shared screen:
// two intervals of a sender's reports, the longest of which is 5 s.
const screenSilence = 10 * time.Second

func (t *track) flow(typ event.Type, data map[string]any) {
	if typ == event.MediaResumed {
		data["direction"] = string(event.Out)
	}
	t.state, t.stalled, t.timedOut = TrackFlowing, time.Time{}, false
	t.tell(typ, event.Failure{}, data)
}

// tell emits an event of the track, with what it is, and tells the publisher
// and everybody who sees him.
func (t *track) tell(typ event.Type, f event.Failure, data map[string]any) {
	data["source"], data["codec"], data["kind"] = string(t.about.Source), t.about.Codec, string(t.about.Kind)
	t.x.tellCall(event.Event{Type: typ, Track: t.about.ID, Failure: f, Data: data})
	t.x.c.tellParticipant(t.x.p)
}

// timeout says that nothing came in time, and why as far as is known.
func (t *track) timeout(waited time.Duration, st upStats) {
	t.timedOut = true
	f := t.x.failure(event.Out)
	if t.state == TrackStalled && t.x.stages.connected() {
		f.Stage = event.StageFlowing
	}
	f.Evidence["packets"] = st.Packets
	f.Evidence["waited_ms"] = waited.Milliseconds()
	t.x.failed(f)
	t.tell(event.MediaTimeout, f, map[string]any{"waited_ms": waited.Milliseconds()})
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
