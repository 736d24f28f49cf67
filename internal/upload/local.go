package upload

import (
	"context"
	"fmt"
	"time"
)

// removeLocal removes the media files of the recordings whose copy was verified
// Config.KeepLocal ago: each copy is read back once more before.
func (u *Uploader) removeLocal(ctx context.Context) error {
	if u.config.KeepLocal <= 0 {
		return nil
	}
	for id, seen := range u.settledNow() {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		here := u.config.Source.Here(id)
		if !here || time.Since(seen.verified) < u.config.KeepLocal && !seen.removed {
			continue
		}
		err := u.removeLocalOf(ctx, id, seen)
		if err != nil {
			err = fmt.Errorf("remove local copy of %s: %w", id, err)
			u.failed(id, err)
			if ReasonOf(err).everywhere() {
				return err
			}
		}
	}
	return nil
}

func (u *Uploader) removeLocalOf(ctx context.Context, id string, seen settled) error {
	s, err := u.states.load(id)
	if err != nil {
		return err
	}
	if !s.Uploaded || s.Place != u.config.Store.Place() {
		return nil
	}
	now := time.Now().UTC()
	if seen.removed { // they were fetched: they may stay as long again
		s.LocalRemoved, s.Verified = nil, &now
		if err := u.states.save(s); err != nil {
			return err
		}
		u.settle(s)
		return nil
	}
	for i := range s.Objects {
		if err := u.verify(ctx, s, &s.Objects[i]); err != nil {
			u.unsettle(id)
			return fmt.Errorf("%s: %w", s.Objects[i].Name, err)
		}
	}
	s.LocalRemoved = &now
	if err := u.states.save(s); err != nil {
		return err
	}
	if err := u.config.Source.Remove(id); err != nil {
		return fail(Local, "%w", err)
	}
	u.settle(s)
	u.log.Info("local files of a recording removed: they are in the store", "recording", id)
	return nil
}

// Erase has the copy of an erased recording removed now and not after the next
// look around, where it shows by itself. What it returns says whether the wish
// is written down; it waits for Run to have begun.
func (u *Uploader) Erase(recording string) error {
	if !recordingPattern.MatchString(recording) {
		return fmt.Errorf("upload: no recording can be called %q", recording)
	}
	select {
	case <-u.opened:
	case <-u.ended:
		return fmt.Errorf("upload: erase: %w", context.Canceled)
	}
	if err := u.markErased(recording); err != nil {
		return fmt.Errorf("upload: erase: %w", err)
	}
	u.mu.Lock()
	if cancel := u.active[recording]; cancel != nil {
		cancel()
	}
	u.mu.Unlock()
	u.Changed(recording)
	return nil
}

// markErased writes down that a copy must go.
func (u *Uploader) markErased(recording string) error {
	if err := u.states.replace(recording+eraseExtension, nil); err != nil {
		return fail(NotSaved, "write down that %s is erased: %w", recording, err)
	}
	u.unsettle(recording)
	return nil
}

// markTombstones marks the copies of recordings that were erased, by whom ever.
func (u *Uploader) markTombstones(stamps map[string]Stamp) error {
	copies, err := u.states.list(stateExtension)
	if err != nil {
		return err
	}
	for _, id := range copies {
		if stamps[id] == (Stamp{}) && u.config.Source.Erased(id) {
			if err := u.markErased(id); err != nil {
				return err
			}
		}
	}
	return nil
}

// eraseMarked removes the copies of which Erase said so.
func (u *Uploader) eraseMarked(ctx context.Context) error {
	marked, err := u.states.list(eraseExtension)
	if err != nil {
		return err
	}
	for _, id := range marked {
		if err := u.eraseCopy(ctx, id); err != nil {
			err = fmt.Errorf("erase copy of %s: %w", id, err)
			u.failed(id, err)
			if ReasonOf(err).everywhere() {
				return err
			}
		}
	}
	return nil
}

func (u *Uploader) eraseCopy(ctx context.Context, id string) error {
	s, err := u.states.load(id)
	if err != nil {
		return err
	}
	if s.Place != "" && s.Place != u.config.Store.Place() {
		return fail(Other, "it lies at %s, which is not the store that is configured", s.Place)
	}
	// The manifest first: without it nothing looks like a whole recording.
	for i := len(s.Objects) - 1; i >= 0; i-- {
		o := s.Objects[i]
		if o.Upload != "" {
			if err := u.config.Store.Abort(ctx, o.Key, o.Upload); err != nil {
				return fmt.Errorf("%s: %w", o.Name, err)
			}
		}
		if err := u.config.Store.Remove(ctx, o.Key, o.Copy); err != nil {
			return fmt.Errorf("%s: %w", o.Name, err)
		}
	}
	u.log.Info("copy of a recording erased", "recording", id)
	return u.states.remove(id)
}
