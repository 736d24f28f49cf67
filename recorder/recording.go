package recorder

import (
	"maps"
	"strings"
	"sync"
	"time"

	"consilium/internal/event"
	"consilium/internal/media"
	"consilium/internal/seal"
)

// Recording records one call. Its methods are safe for concurrent use and
// never wait for the disk.
type Recording struct {
	recorder *Recorder
	call     media.Call
	book     *book
	key      seal.Key // seals its spools; nil: not sealed

	// What arming found: nothing at all, or a recording of this state.
	fresh    bool
	was      State
	wasEnded *time.Time

	mu     sync.Mutex
	ended  bool
	tracks map[*track]struct{} // those that have not ended
	wg     sync.WaitGroup      // tracks and finalisers
}

func newRecording(r *Recorder, c media.Call) *Recording {
	if c.Started.IsZero() {
		c.Started = time.Now()
	}
	return &Recording{recorder: r, call: c, tracks: make(map[*track]struct{})}
}

// Track returns the sink of a track. It never blocks and never fails: what
// can't be recorded is counted, reported and has an entry in the manifest.
// keyframe asks the publisher for a keyframe; it is called from a goroutine of
// the recorder and must be safe for that.
func (r *Recording) Track(t media.Track, keyframe func()) media.Sink {
	k := newTrack(r, t, keyframe)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended || len(r.tracks) >= maxTracks || k.assembler == nil {
		r.refuse(t)
		return &deaf{}
	}
	r.tracks[k] = struct{}{}
	r.book.update(func(m *Manifest) {
		k.number = m.participant(t.Participant, t.Role)
		m.Tracks = append(m.Tracks, k.info(time.Now()))
	})
	r.wg.Go(k.run)
	return k
}

// refuse reports a track that can't be recorded.
func (r *Recording) refuse(t media.Track) {
	r.recorder.log.Error("track can't be recorded", "call", r.call.ID, "track", t.ID, "codec", t.Codec)
	r.book.update(func(m *Manifest) {
		m.participant(t.Participant, t.Role)
		m.Tracks = append(m.Tracks, TrackInfo{
			Track: t.ID, Participant: t.Participant, Session: t.Session,
			Source: t.Source, Codec: t.Codec, StartedMS: r.sessionMS(time.Now()),
		})
	})
	r.fail(t, event.RecorderFailed, "this track can't be recorded")
}

// deaf is the sink of a track that can't be recorded.
type deaf struct{}

func (*deaf) WritePacket(*media.Packet)            {}
func (*deaf) WriteSenderReport(media.SenderReport) {}
func (*deaf) SetMuted(bool, time.Time)             {}
func (*deaf) End(media.EndReason, time.Time)       {}

// Note adds an event of the call to the manifest.
func (r *Recording) Note(e event.Event) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	switch e.Type {
	case event.NoteCandidate, event.NoteState, event.NoteNegotiation, event.NoteClient:
		return // about networks and browsers: the journal's matter
	case event.RecordingArmed, event.RecordingStarted, event.RecordingReady, event.RecordingFailed:
		return // our own: what matters of them is there already
	case event.ConsentGiven, event.ConsentRefused:
		r.book.update(func(m *Manifest) {
			if len(m.Consents) < maxEvents {
				m.Consents = append(m.Consents, Consent{
					Participant: e.Participant, Given: e.Type == event.ConsentGiven, Time: e.Time.Round(0), Data: e.Data,
				})
			}
		})
	case event.ParticipantJoined:
		role, _ := e.Data["role"].(string)
		r.book.update(func(m *Manifest) { m.participant(e.Participant, role) })
	}
	data := e.Data
	if _, named := data["name"]; named && r.key != nil {
		// The manifest is not sealed: it must tell nobody who was there.
		data = maps.Clone(data)
		delete(data, "name")
	}
	r.book.update(func(m *Manifest) {
		m.describe(e)
		m.addEvent(Entry{
			MS: r.sessionMS(e.Time), Type: e.Type, Participant: e.Participant,
			Session: e.Session, Track: e.Track, Code: e.Code, Data: data,
		})
	})
}

// End says that the call is over. The manifest is final, and recording.ready
// reported, when all its files are.
func (r *Recording) End(at time.Time) { r.end(media.EndCall, at) }

func (r *Recording) end(reason media.EndReason, at time.Time) {
	if !r.claimEnd(reason, at) {
		return
	}
	r.recorder.wg.Go(func() {
		r.wg.Wait()
		r.finish(at)
	})
}

// claimEnd ends the tracks and reports whether it was the first to do so: who
// was concludes the recording, and nobody else.
func (r *Recording) claimEnd(reason media.EndReason, at time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return false
	}
	r.ended = true
	for k := range r.tracks {
		k.stop(reason, at)
	}
	return true
}

// finish closes the manifest when all files are done.
func (r *Recording) finish(at time.Time) {
	r.book.update(func(m *Manifest) {
		r.book.goesOn = false
		ended := m.Started.Add(time.Duration(r.sessionMS(at)) * time.Millisecond)
		m.Ended = &ended
	})
	r.recorder.conclude(r.call.ID, r.book, r, Final)
}

// sessionMS is a moment on the time axis of the call.
func (r *Recording) sessionMS(at time.Time) int64 { return at.Sub(r.call.Started).Milliseconds() }

// done takes a track off the list of those that run.
func (r *Recording) done(k *track) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.tracks, k)
}

// sync makes what the spools hold durable.
func (r *Recording) sync() {
	r.mu.Lock()
	files := make([]*segmentWriter, 0, len(r.tracks))
	for k := range r.tracks {
		if w := k.live.Load(); w != nil {
			files = append(files, w)
		}
	}
	r.mu.Unlock()
	for _, w := range files {
		w.sync()
	}
}

// fail reports that something of the recording is lost.
func (r *Recording) fail(t media.Track, code event.Code, reason string) {
	r.recorder.emit(r.book, event.RecordingFailed, func(e *event.Event) {
		e.Participant, e.Session, e.Track, e.Code = t.Participant, t.Session, t.ID, code
		e.Data["source"] = string(t.Source)
		e.Data["reason"] = reason
	})
	r.book.update(func(m *Manifest) {
		m.addEvent(Entry{
			MS: r.sessionMS(time.Now()), Type: event.RecordingFailed, Participant: t.Participant,
			Session: t.Session, Track: t.ID, Code: code, Data: map[string]any{"reason": reason},
		})
	})
}

// reason puts an error in words without paths, which may not be shown.
func reason(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		return text[i+2:]
	}
	return text
}
