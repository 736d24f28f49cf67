package recorder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"

	"consilium/internal/event"
	"consilium/internal/media"
)

// attempt is one try to arm a call. There is one at a time for a call: whoever
// comes while a stalled disk holds it up waits for the same one, because the
// disk would hold up another as well.
type attempt struct {
	over chan struct{} // closed when there is a result

	// Guarded by Recorder.mu.
	waiting   int        // calls of Arm
	recording *Recording // until one of them takes it
	err       error      // nil, too, if nobody waited and all was undone
}

// Arm prepares everything needed to record a call: directories, enough free
// space and a first manifest. Until it has returned without an error no medium
// of the call may pass. The error is an *Error. When ctx ends first, Arm
// returns, and what it began is undone as soon as the disk allows, unless Arm
// has been called again for the call: then that gets it.
func (r *Recorder) Arm(ctx context.Context, c media.Call) (*Recording, error) {
	select {
	case <-r.ready:
	case <-ctx.Done():
		return nil, &Error{event.RecorderFailed, fmt.Errorf("arm: not running: %w", ctx.Err())}
	}
	for {
		a, err := r.join(c)
		if err != nil {
			return nil, &Error{codeOf(err), fmt.Errorf("arm: %w", err)}
		}
		select {
		case <-a.over:
		case <-ctx.Done():
		}
		recording, err := r.leave(a)
		switch {
		case recording != nil:
			r.emit(recording.book, event.RecordingArmed, nil)
			return recording, nil
		case err == nil:
			err = ctx.Err() // else it was undone, or somebody else has it
		}
		if err != nil {
			return nil, &Error{codeOf(err), fmt.Errorf("arm: %w", err)}
		}
	}
}

// join returns the attempt for a call that is under way, or begins one.
func (r *Recorder) join(c media.Call) (*attempt, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errClosed
	}
	a := r.arming[c.ID]
	if a == nil {
		a = &attempt{over: make(chan struct{})}
		r.arming[c.ID] = a
		// On a goroutine of its own: a stalled disk holds up nobody but it.
		r.wg.Go(func() { r.attempt(a, c) })
	}
	a.waiting++
	return a, nil
}

// leave takes the result of an attempt, if there is one and nobody was faster.
func (r *Recorder) leave(a *attempt) (*Recording, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a.waiting--
	recording := a.recording
	a.recording = nil
	return recording, a.err
}

// attempt arms a call and hands the result to who waits. When nobody does any
// more it is undone first: whoever comes meanwhile waits for that, and begins
// anew.
func (r *Recorder) attempt(a *attempt, c media.Call) {
	recording, err := r.arm(c)
	r.mu.Lock()
	late := recording != nil && a.waiting == 0
	if late {
		r.mu.Unlock()
		recording.undo()
		r.mu.Lock()
	} else {
		a.recording, a.err = recording, err
	}
	delete(r.arming, c.ID)
	close(a.over)
	r.mu.Unlock()
}

// arm does the work of Arm.
func (r *Recorder) arm(c media.Call) (*Recording, error) {
	if !validCall(c.ID) {
		return nil, fmt.Errorf("call id %q can't name a directory", c.ID)
	}
	if err := r.volume.admit(); err != nil {
		return nil, err
	}
	if r.recorded(c.ID) {
		return nil, fmt.Errorf("call %s is being recorded already", c.ID)
	}
	b, err := r.acquire(c.ID, r.newManifest(c))
	if err != nil {
		return nil, err
	}
	recording := newRecording(r, c)
	recording.book = b
	// Who concludes what was recorded of the call before is let finish: nothing
	// is reopened under its hands.
	b.concludeMu.Lock()
	defer b.concludeMu.Unlock()
	if err = recording.prepare(); err == nil {
		err = r.begin(recording)
	}
	if err != nil {
		recording.forget() // a call that is refused leaves nothing behind
		r.release(c.ID, nil)
		return nil, err
	}
	return recording, nil
}

// recorded reports whether a call is being recorded. No other attempt can change
// that while one is under way.
func (r *Recorder) recorded(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.open[id]
	return c != nil && c.recording != nil
}

// begin makes a recording one that is tended.
func (r *Recorder) begin(recording *Recording) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errClosed
	}
	r.open[recording.call.ID].recording = recording
	return nil
}

// prepare makes directories, manifest and key. concludeMu of the book is held.
func (r *Recording) prepare() error {
	root, id := r.recorder.root, r.call.ID
	r.fresh = r.book.fresh
	if err := makeDir(root, path.Join(recordingsDir, id)); err != nil {
		return err
	}
	if err := r.markUnfinished(); err != nil {
		return err
	}
	r.book.reopen(func(m *Manifest) {
		r.book.goesOn = true
		r.was, r.wasEnded = m.State, m.Ended
		m.State, m.Ended = Live, nil
		// A call that goes on after a restart keeps its time axis. If the wall
		// clock was set back meanwhile, it goes on where the recording ended.
		r.call.Started = r.call.Started.Add(m.Started.Sub(r.call.Started.Round(0)))
		if back := m.length() - time.Since(r.call.Started); back > 0 {
			r.call.Started = r.call.Started.Add(-back)
		}
	})
	keys, err := r.book.keysFor(r.recorder.config.Sealer, false)
	if err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	if len(keys) > 0 {
		r.key = keys[0]
	}
	return r.book.save()
}

// markUnfinished makes the spool's directory of a call. A recording that was
// erased, or is being erased, takes nothing any more.
func (r *Recording) markUnfinished() error {
	dir, unlock, err := lockCall(r.recorder.config.Dir, r.call.ID)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := dir.Lstat(tombstoneName); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(ErrErased, err)
	}
	return makeDir(r.recorder.root, path.Join(spoolDir, r.call.ID))
}

// undo ends a recording that nobody took: as if it had never been armed.
func (r *Recording) undo() {
	if !r.claimEnd(media.EndCall, time.Now()) {
		return // a shutdown was first
	}
	if r.fresh {
		r.book.concludeMu.Lock()
		defer r.book.concludeMu.Unlock()
		r.forget()
		r.recorder.release(r.call.ID, r)
		return
	}
	state := r.was
	if state == Live || state == Locked {
		state = Recovered
	}
	r.book.update(func(m *Manifest) { r.book.goesOn, m.Ended = false, r.wasEnded })
	r.recorder.conclude(r.call.ID, r.book, r, state)
}

// forget removes what arming has made of a call that had no recording before.
// What it can't remove the next start does. concludeMu of the book is held.
func (r *Recording) forget() {
	if !r.fresh {
		return
	}
	r.book.discard()
	if err := r.recorder.removeEmpty(r.call.ID); err != nil {
		r.recorder.log.Warn("what is left of a call that was not armed remains", "call", r.call.ID, "error", err)
	}
	r.recorder.config.Changed(r.call.ID)
}

// errNotEmpty says that a recording has files.
var errNotEmpty = errors.New("there are files of the recording")

// removeEmpty removes a recording in which nothing was recorded: its manifest
// and keys, and the directories, the spool's last. The error wraps errNotEmpty
// if there is anything that may be somebody's.
func (r *Recorder) removeEmpty(id string) error {
	dir := path.Join(recordingsDir, id)
	made := []string{manifestName, tempName(manifestName), tempName(keyName)}
	for _, d := range []string{dir, path.Join(spoolDir, id), path.Join(quarantineDir, id)} {
		entries, err := fs.ReadDir(r.root.FS(), d)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("list files: %w", err)
		}
		for _, e := range entries {
			if d != dir || !slices.Contains(made, e.Name()) && !keyPattern.MatchString(e.Name()) {
				return fmt.Errorf("%w: %s", errNotEmpty, e.Name())
			}
		}
	}
	if err := destroyKeys(r.root, dir); err != nil {
		return err
	}
	for _, name := range append(made, "", path.Join("../..", spoolDir, id)) {
		if err := r.root.Remove(path.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (r *Recorder) newManifest(c media.Call) Manifest {
	started := c.Started
	if started.IsZero() {
		started = time.Now()
	}
	return Manifest{
		Version: ManifestVersion, Call: c.ID, Room: c.Room, ExternalID: c.ExternalID, Metadata: c.Metadata,
		Software: "consilium " + r.config.Version, State: Live, Started: started.Round(0).UTC(),
		Participants: []Participant{}, Consents: []Consent{}, Tracks: []TrackInfo{},
		Segments: []Segment{}, Events: []Entry{},
	}
}

// acquire returns the book of a call for one more user. fresh is its manifest if
// it has none yet.
func (r *Recorder) acquire(id string, fresh Manifest) (*book, error) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil, errClosed
	}
	c := r.open[id]
	if c == nil {
		c = &call{book: newBook(r.root, id, func() { r.config.Changed(id) })}
		r.open[id] = c
	}
	c.users++
	r.mu.Unlock()
	// Read after it was entered, and without the lock: nobody else writes the
	// manifest meanwhile, and a stalled disk holds up nobody else.
	if err := c.book.load(fresh); err != nil {
		r.release(id, nil)
		return nil, err
	}
	return c.book, nil
}

// release takes back what acquire gave; recording is nil unless it had begun.
func (r *Recorder) release(id string, recording *Recording) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.open[id]
	if recording != nil && c.recording == recording {
		c.recording = nil
	}
	if c.users--; c.users == 0 {
		delete(r.open, id)
	}
}
