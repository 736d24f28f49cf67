package recorder

import (
	"errors"
	"maps"
	"path"
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
		ended := m.Started.Add(time.Duration(r.sessionMS(at)) * time.Millisecond)
		m.Ended = &ended
	})
	r.recorder.conclude(r.call.ID, r.book, r, Final)
}

// conclude makes a manifest final when its last user is done. A call that has
// unfinished segments stays live, to be recovered at the next start. recording
// is nil when a recovery is done.
func (r *Recorder) conclude(id string, b *book, recording *Recording, state State) {
	// The book stays acquired until it is written: nobody opens a second one.
	b.concludeMu.Lock()
	defer b.concludeMu.Unlock()
	r.mu.Lock()
	last := r.open[id].users == 1
	r.mu.Unlock()
	unfinished := false
	if last {
		b.update(func(m *Manifest) { unfinished = m.settle(state) })
	}
	var err error
	if last && !unfinished {
		err = b.saveFinal(r.chain, r.signingKey)
	} else {
		err = b.save()
	}
	r.step("manifest written")
	r.release(id, recording)
	if err != nil {
		r.log.Error("manifest not written", "call", id, "error", err)
		r.emit(b, event.RecordingFailed, func(e *event.Event) {
			e.Code = codeOf(err)
			e.Data["reason"] = "manifest not written"
		})
		return
	}
	if !last || unfinished {
		return
	}
	// The spool's directory marks a call as unfinished; it goes last.
	if err := r.root.Remove(path.Join(spoolDir, id)); err != nil {
		r.log.Warn("spool directory remains", "call", id, "error", err)
	}
	r.step("spool directory removed")
	if state == Failed {
		return
	}
	r.emit(b, event.RecordingReady, func(e *event.Event) {
		e.Data["files"] = b.files()
		e.Data["state"] = string(state)
	})
}

// settle gives the manifest its last state, unless it has segments that are not
// finished.
func (m *Manifest) settle(state State) (unfinished bool) {
	for _, s := range m.Segments {
		switch s.State {
		case Live:
			unfinished = true
		case Locked:
			unfinished, m.State = true, Locked
		}
	}
	if !unfinished {
		m.State = state
	}
	return unfinished
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

// finaliseNow makes the final file of a segment and removes its spool. It is
// safe to be interrupted at any point and run again.
func (r *Recorder) finaliseNow(b *book, id, spool string, state State) error {
	if err := r.makeFinal(b, id, spool, state); err != nil {
		return err
	}
	if err := b.saveSoon(r.closing); err != nil {
		return err
	}
	r.step("segment in the manifest")
	if err := r.root.Remove(spoolPath(id, spool)); err != nil {
		return err
	}
	r.step("spool removed")
	return nil
}

// makeFinal makes the final file of a segment, as one of a few at a time, and
// notes it in the manifest in memory.
func (r *Recorder) makeFinal(b *book, id, spool string, state State) error {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-r.work.Done():
		return r.work.Err()
	}
	file := strings.TrimSuffix(spool, sealedExtension)
	keys, err := b.keysFor(r.config.Sealer, file != spool)
	if err != nil {
		return err
	}
	f := finaliser{root: r.root, create: r.create, sealer: r.config.Sealer, keys: keys, step: r.step}
	result, err := f.run(r.work, spoolPath(id, spool), path.Join(recordingsDir, id), b.describe(file))
	switch {
	case errors.Is(err, errNoFrames):
		b.update(func(m *Manifest) {
			if s := m.segment(file); s != nil {
				s.State = Failed
			}
		})
	case err != nil:
		return err
	default:
		b.update(func(m *Manifest) { m.fileDone(result, state) })
	}
	return nil
}

// fileDone notes a finished file.
func (m *Manifest) fileDone(f final, state State) {
	s := m.segment(f.name)
	if s == nil {
		// The crash came before the manifest was written: the spool knows.
		m.participant(f.header.Segment.Participant, "")
		m.Segments = append(m.Segments, f.header.Segment)
		s = &m.Segments[len(m.Segments)-1]
	}
	if s.Track == "" { // it was locked: only its name was known
		m.participant(f.header.Segment.Participant, "")
		*s = f.header.Segment
	}
	if s.State != Final {
		s.State = state
	}
	s.Bytes, s.SHA256, s.Frames, s.DurationMS = f.bytes, f.sha256, f.frames, f.durationMS
	s.Sealed = f.sealed
	if s.Activity == nil { // the crash came first
		s.Activity = f.activity
	}
	if f.damage > 0 {
		s.SilenceFilledMS += f.insertedMS
		m.addEvent(Entry{
			MS: int64(s.T0MS) + s.DurationMS, Type: event.RecordingFailed, Participant: s.Participant,
			Session: s.Session, Track: s.Track, Code: event.RecorderFailed,
			Data: map[string]any{"file": s.File, "damaged_places": f.damage, "reason": "the spool was cut or damaged"},
		})
	}
}

// reason puts an error in words without paths, which may not be shown.
func reason(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		return text[i+2:]
	}
	return text
}
