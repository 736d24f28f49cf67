package upload

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

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
	u.Hurry()
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
		if !u.due(id) {
			continue
		}
		if err := u.eraseCopy(ctx, id); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
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
	if errors.Is(err, errUnreadable) {
		return fmt.Errorf("%w; remove %s%s/ from the store by hand, then %s/%s.*", err, u.config.Prefix, id, stateDir, id)
	}
	if err != nil {
		return err
	}
	if s.Place != "" && s.Place != u.config.Store.Place() {
		return fail(Other, "it lies at %s, which is not the store that is configured", s.Place)
	}
	// The manifest first: without it nothing looks like a whole recording.
	for _, list := range [][]object{s.Objects, s.Leftovers} {
		for i := range slices.Backward(list) {
			if err := u.removeObject(ctx, &state{}, &list[i]); err != nil {
				return fmt.Errorf("%s: %w", list[i].Name, err)
			}
		}
	}
	if err := u.states.remove(id); err != nil {
		return err
	}
	u.mu.Lock()
	delete(u.retries, id)
	u.mu.Unlock()
	u.log.Info("copy of a recording erased", "recording", id)
	return nil
}

// removeObject removes the parts and the version of an object that were sent,
// unless one of those that s keeps has taken its place.
func (u *Uploader) removeObject(ctx context.Context, s *state, o *object) error {
	if o.Upload != "" {
		if err := u.config.Store.Abort(ctx, o.Key, o.Upload); err != nil {
			return err
		}
	}
	if s.replaced(*o) {
		return nil
	}
	if o.Copy == "" {
		// Perhaps it was completed and we were killed before its version was
		// written down: without one a store may only hide what it keeps.
		r, err := u.config.Store.Open(ctx, o.Key, "")
		if errors.Is(err, ErrNoObject) {
			return nil
		}
		if err != nil {
			return err
		}
		o.Copy = r.Version
		_ = r.Close()
	}
	return u.config.Store.Remove(ctx, o.Key, o.Copy)
}
