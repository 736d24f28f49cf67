package recorder

import (
	"errors"
	"path"
	"strings"

	"consilium/internal/event"
)

// conclude makes a manifest final when its last user is done. A call that has
// unfinished segments stays live, to be recovered at the next start. recording
// is nil when a recovery is done.
func (r *Recorder) conclude(id string, b *book, recording *Recording, state State) {
	// The book stays acquired until all is written: nobody opens a second one,
	// or reopens this one.
	b.concludeMu.Lock()
	defer b.concludeMu.Unlock()
	defer r.release(id, recording)
	r.mu.Lock()
	last := r.open[id].users == 1
	r.mu.Unlock()
	unfinished := false
	if last {
		b.update(func(m *Manifest) { unfinished = m.settle(state) })
	}
	if !r.saveLast(id, b, last && !unfinished) || !last || unfinished {
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

// saveLast writes the manifest, as the final one or not, and reports whether it
// could. Until it is final the recording is of no use to anybody, so it is tried
// again whenever the disk was measured, as long as the recorder runs.
func (r *Recorder) saveLast(id string, b *book, final bool) bool {
	for told := false; ; told = true {
		save := b.save
		if final {
			save = func() error { return b.saveFinal(r.chain, r.signingKey) }
		}
		failed := save()
		r.step("manifest written")
		if failed == nil {
			return true
		}
		if !told {
			r.log.Error("manifest not written", "call", id, "error", failed)
			r.emit(b, event.RecordingFailed, func(e *event.Event) {
				e.Code = codeOf(failed)
				e.Data["reason"] = "manifest not written"
			})
		}
		if r.tries <= 1 {
			return false
		}
		if r.volume.measured(r.work, r.closing) != nil {
			return false
		}
	}
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
	case errors.Is(err, ErrDamaged):
		return errors.Join(err, r.putAside(b, id, spool))
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
