package sfu

import (
	"cmp"
	"slices"
	"time"

	"consilium/internal/event"
	"consilium/internal/media"
)

// seatLine is one receive-only m-line of a subscriber with the local track that
// stays with it for life.
type seatLine struct {
	mid  string
	kind media.Kind
	down *downTrack

	seated  bool   // it is part of a seat
	track   *track // whose media it carries; nil: none
	since   time.Time
	counts  bool      // the client reports what it decodes of the track
	decoded uint64    // the highest count it reported
	grewAt  time.Time // when that count last grew
	alarmed time.Time // when media.timeout, direction in, was emitted; zero: it was not
}

// seat is a pair of lines that follows one session (a person), or one line
// that follows a session's screen. It stays with the session until that ends.
// Owned by the subscriber's call loop.
type seat struct {
	id           string
	screen       bool
	audio, video *seatLine
	session      *Session
}

func (x *Session) addSeat(r SeatRequest) {
	s := &seat{audio: x.peer.slots[r.Audio], video: x.peer.slots[r.Video], screen: r.Audio == ""}
	for _, sl := range []*seatLine{s.video, s.audio} {
		if sl != nil {
			s.id, sl.seated = sl.down.StreamID(), true
		}
	}
	x.seats = append(x.seats, s)
}

// seatAll gives every subscriber's seats to those who publish. It runs after
// every change of who is there and what they publish.
func (c *call) seatAll() {
	if c.ended {
		return
	}
	for _, x := range c.sessions {
		switch {
		case x.closed || x.peer == nil || !x.person.Grants.Subscribe:
		case x.mode == Player:
			x.seatTarget()
		case x.mode == Interactive:
			x.seatOthers()
		}
	}
}

// source returns the session's track of a source, nil if it publishes none.
func (x *Session) source(s media.Source) *track {
	for _, t := range x.published {
		if t.about.Source == s {
			return t
		}
	}
	return nil
}

// others lists the sessions that x should see, oldest first.
func (x *Session) others() []*Session {
	var list []*Session
	for _, o := range x.c.sessions {
		if o != x && !o.closed && o.mode != Player && o.p.state != Waiting && !(o.p == x.p && o.mode == Interactive) {
			list = append(list, o)
		}
	}
	slices.SortFunc(list, func(a, b *Session) int {
		return cmp.Or(a.joinedAt.Compare(b.joinedAt), cmp.Compare(a.id, b.id))
	})
	return list
}

// seatOthers seats the people and the screens of the call.
func (x *Session) seatOthers() {
	taken := map[*Session]bool{} // has a person's seat
	shown := map[*Session]bool{} // has a screen's seat
	for _, s := range x.seats {
		s.keep()
		if s.session != nil && s.screen {
			shown[s.session] = true
		} else if s.session != nil {
			taken[s.session] = true
		}
	}
	n := NoticeSeats{}
	for _, o := range x.others() {
		if (o.source(media.Microphone) != nil || o.source(media.Camera) != nil) && !taken[o] && !x.sit(o, false) {
			n.MissingPersons++
		}
		if o.source(media.Screen) != nil && !shown[o] && !x.sit(o, true) {
			n.MissingScreens++
		}
	}
	for _, s := range x.seats {
		s.follow()
		s.applyView(x)
		n.Seats = append(n.Seats, s.describe())
	}
	if x.lastSeats.MissingPersons != n.MissingPersons || x.lastSeats.MissingScreens != n.MissingScreens ||
		!slices.Equal(x.lastSeats.Seats, n.Seats) {
		x.lastSeats = n
		x.notify(n)
	}
}

// keep frees the seat of who is gone. Whoever came back as another session
// keeps it.
func (s *seat) keep() {
	for s.session != nil && s.session.closed {
		s.session = s.session.successor
	}
	if s.session != nil && s.screen && s.session.source(media.Screen) == nil {
		s.session = nil
	}
}

// sit gives a free seat to a session; false if there is none.
func (x *Session) sit(o *Session, screen bool) bool {
	for _, s := range x.seats {
		if s.session == nil && s.screen == screen {
			s.session = o
			return true
		}
	}
	return false
}

// follow connects the seat's lines to what its session publishes now.
func (s *seat) follow() {
	if s.session == nil {
		s.clear()
		return
	}
	if s.screen {
		s.video.carry(s.session.source(media.Screen))
		return
	}
	s.audio.carry(s.session.source(media.Microphone))
	s.video.carry(s.session.source(media.Camera))
}

func (s *seat) clear() {
	s.audio.carry(nil)
	s.video.carry(nil)
}

// carry makes the line carry a track, or nothing.
func (sl *seatLine) carry(t *track) {
	if sl == nil || sl.track == t {
		return
	}
	sl.track, sl.since = t, time.Now()
	sl.counts, sl.decoded, sl.grewAt, sl.alarmed = false, 0, time.Time{}, time.Time{}
	if t == nil {
		sl.down.assign(nil)
		return
	}
	sl.down.assign(t.up)
}

func (s *seat) describe() Seat {
	d := Seat{ID: s.id}
	if s.audio != nil {
		d.Audio = s.audio.mid
	}
	if s.video != nil {
		d.Video = s.video.mid
	}
	if s.session == nil {
		return d
	}
	d.Participant, d.Session = s.session.p.identity, s.session.id
	if s.audio != nil && s.audio.track != nil {
		d.AudioTrack = s.audio.track.about.ID
	}
	if s.video != nil && s.video.track != nil {
		d.VideoTrack = s.video.track.about.ID
	}
	return d
}

// applyView pauses the seat's video while the client does not show it.
func (s *seat) applyView(x *Session) {
	if s.video == nil || s.video.track == nil || x.views == nil {
		return
	}
	v, ok := x.views[s.video.track.about.ID]
	s.video.down.setPaused(!ok || v.Width <= 0 || v.Height <= 0)
}

// noteDecoded takes what the client decoded of the seat's tracks.
func (s *seat) noteDecoded(counts map[string]uint64) {
	for _, sl := range []*seatLine{s.audio, s.video} {
		if sl == nil || sl.track == nil {
			continue
		}
		n, ok := counts[sl.track.about.ID]
		sl.counts = sl.counts || ok
		if n > sl.decoded {
			sl.decoded, sl.grewAt = n, time.Now()
		}
	}
}

// watch looks whether the subscriber gets anything out of what is sent to him.
func (s *seat) watch(x *Session, now time.Time) {
	for _, sl := range []*seatLine{s.audio, s.video} {
		if sl != nil && sl.track != nil {
			sl.watch(x, now)
		}
	}
}

// watch raises media.timeout, direction in, when a line has carried a flowing
// track for the timeout without any progress at the subscriber. Progress is
// what the client reports as decoded or, of one that reports nothing, its
// receiver reports (RFC 3550, 6.4.2). Sound is always judged by the latter: a
// page whose sound is not unlocked yet decodes none, and nothing is wrong.
func (sl *seatLine) watch(x *Session, now time.Time) {
	t, limit := sl.track, x.c.s.cfg.Media.Timeout
	st := sl.down.stats()
	expected := t.state == TrackFlowing && !t.muted && !st.Paused && x.stages.connected()
	if !expected {
		sl.since = now
		return
	}
	if t.about.Source == media.Screen {
		return // a still screen sends nothing to decode
	}
	from := later(later(sl.since, t.firstAt), x.stages.dtlsAt)
	progress := st.ReportedAt
	if sl.counts && t.about.Kind == media.Video {
		progress = sl.grewAt
	}
	quiet := now.Sub(later(from, progress))
	switch {
	case !sl.alarmed.IsZero():
		if progress.After(sl.alarmed) {
			sl.alarmed = time.Time{}
			sl.tell(x, event.MediaResumed, event.Failure{}, map[string]any{"direction": string(event.In)})
		}
	case quiet >= limit:
		sl.alarmed = now
		sl.tell(x, event.MediaTimeout, event.Failure{
			Code: event.NoMediaIn, Stage: event.StageFirstFrame, Direction: event.In,
			Evidence: map[string]any{"packets_sent": st.Packets, "decoded": sl.decoded, "publisher": t.about.Participant},
		}, map[string]any{"waited_ms": quiet.Milliseconds()})
	}
}

// tell emits an event about what the subscriber gets of the line's track.
func (sl *seatLine) tell(x *Session, typ event.Type, f event.Failure, data map[string]any) {
	about := &sl.track.about
	data["source"], data["kind"], data["codec"] = string(about.Source), string(about.Kind), about.Codec
	x.tellSelf(event.Event{Type: typ, Track: about.ID, Failure: f, Data: data})
}

// seatTarget connects a Player's lines, in the order of its m-lines, to what
// its target publishes.
func (x *Session) seatTarget() {
	counts := map[media.Kind]int{}
	for _, s := range x.seats {
		for _, sl := range []*seatLine{s.audio, s.video} {
			if sl == nil {
				continue
			}
			want := sourceByOrder(sl.kind, counts[sl.kind])
			if sl.kind == media.Video && counts[sl.kind] < len(x.order) {
				want = x.order[counts[sl.kind]]
			}
			counts[sl.kind]++
			sl.carry(x.c.newest(x.target, want))
		}
	}
}

// newest returns the track of a source that an identity published last.
func (c *call) newest(identity string, source media.Source) *track {
	p := c.participants[identity]
	if p == nil || p.state == Waiting {
		return nil
	}
	for _, o := range slices.Backward(p.sessions) {
		if t := o.source(source); t != nil && !o.closed {
			return t
		}
	}
	return nil
}
