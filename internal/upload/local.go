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
	fetched := time.Since(u.trimmed) >= u.config.Interval // whether to look for what was
	if fetched {
		u.trimmed = time.Now()
	}
	for id, seen := range u.settledNow() {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		young := time.Since(seen.verified) < u.config.KeepLocal
		if seen.removed && !fetched || !seen.removed && young || !u.due(id) || !u.config.Source.Removable(id) {
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
			if !s.Uploaded { // it is damaged
				u.unsettle(id)
			}
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
