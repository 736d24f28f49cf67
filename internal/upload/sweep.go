package upload

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// staleUpload is how old an upload is that nobody here knows when it is
// aborted: another server may be using the same bucket.
const staleUpload = 7 * 24 * time.Hour

// pending is a recording to copy.
type pending struct {
	recording string
	stamp     Stamp
	files     []File
}

// sweep does everything there is to do now. The error is of what would fail
// for every recording.
func (u *Uploader) sweep(ctx context.Context) error {
	list, err := u.find()
	if err != nil {
		u.failed("", err)
		return err
	}
	if err := u.eraseMarked(ctx); err != nil {
		return err
	}
	if err := u.transferAll(ctx, list); err != nil {
		return err
	}
	if err := u.removeLocal(ctx); err != nil {
		return err
	}
	return u.abortStale(ctx)
}

// find returns the recordings whose copy is not complete, the oldest first.
func (u *Uploader) find() ([]pending, error) {
	stamps, err := u.config.Source.Stamps()
	if err != nil {
		return nil, fail(Local, "look for recordings: %w", err)
	}
	if err := u.markTombstones(stamps); err != nil {
		return nil, err
	}
	marked, err := u.states.list(eraseExtension)
	if err != nil {
		return nil, err
	}
	done := u.settledNow()
	var list []pending
	now := map[string]waiting{}
	for id, stamp := range stamps {
		if stamp == (Stamp{}) || done[id].manifest == stamp || slices.Contains(marked, id) || !recordingPattern.MatchString(id) {
			continue
		}
		files, err := u.config.Source.Files(id)
		if errors.Is(err, ErrNotFinal) {
			continue
		}
		w := waiting{since: time.Unix(0, stamp.Modified)}
		for _, f := range files {
			w.bytes += f.Bytes
		}
		now[id] = w
		switch {
		case !u.due(id):
		case err != nil:
			u.failed(id, fail(Local, "read manifest: %w", err))
		case !u.config.AllowUnsealed && slices.ContainsFunc(files, func(f File) bool { return f.Unsealed }):
			u.failed(id, fail(Unsealed,
				"its files are not sealed: anybody who gets at the store could play them; seal recordings, or set recording.s3.allow_unsealed"))
		default:
			list = append(list, pending{id, stamp, files})
		}
	}
	u.mu.Lock()
	u.waiting = now
	u.mu.Unlock()
	slices.SortFunc(list, func(a, b pending) int {
		return cmp.Or(cmp.Compare(a.stamp.Modified, b.stamp.Modified), cmp.Compare(a.recording, b.recording))
	})
	return list, nil
}

// due reports whether a recording that failed may be tried again.
func (u *Uploader) due(id string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return !time.Now().Before(u.retries[id].after)
}

// transferAll copies recordings, Config.Concurrency at once, until one fails
// in a way that all would.
func (u *Uploader) transferAll(ctx context.Context, list []pending) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	next := make(chan pending)
	var wg sync.WaitGroup
	for range min(u.config.Concurrency, len(list)) {
		wg.Go(func() {
			for p := range next {
				if ctx.Err() != nil {
					continue // another one has just failed
				}
				err := u.transferOne(ctx, p)
				if err == nil || ctx.Err() != nil {
					continue
				}
				u.failed(p.recording, err)
				if ReasonOf(err).everywhere() {
					stop(err)
				}
			}
		})
	}
feed:
	for _, p := range list {
		select {
		case next <- p:
		case <-u.hurry: // before the rest of what may be days of work
			u.Hurry()
			break feed
		case <-ctx.Done():
			break feed
		}
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}

// transferOne copies a recording unless it is erased meanwhile.
func (u *Uploader) transferOne(ctx context.Context, p pending) error {
	one, cancel := context.WithCancel(ctx)
	defer cancel()
	u.mu.Lock()
	u.active[p.recording] = cancel
	u.mu.Unlock()
	defer func() {
		u.mu.Lock()
		delete(u.active, p.recording)
		u.mu.Unlock()
	}()
	err := u.transfer(one, p)
	if one.Err() != nil && ctx.Err() == nil {
		return nil // erased: the next sweep removes what was sent
	}
	if err != nil {
		return fmt.Errorf("recording %s: %w", p.recording, err)
	}
	return nil
}

// abortStale aborts uploads that no state here knows and that are old: what a
// crash between beginning an upload and writing that down leaves.
func (u *Uploader) abortStale(ctx context.Context) error {
	if time.Since(u.cleaned) < staleUpload/7 {
		return nil
	}
	list, err := u.config.Store.Unfinished(ctx)
	if err != nil {
		err = fmt.Errorf("list unfinished uploads: %w", err)
		u.failed("", err)
		// A store that can't list them still takes recordings.
		u.log.Warn("stale uploads are not looked for", "error", err)
		u.cleaned = time.Now()
		return nil
	}
	known, err := u.knownUploads()
	if err != nil {
		return err
	}
	for _, l := range list {
		if known[l.Upload] || time.Since(l.Begun) < staleUpload || !u.mine(l.Key) {
			continue
		}
		if err := u.config.Store.Abort(ctx, l.Key, l.Upload); err != nil {
			u.log.Warn("stale upload not aborted", "key", l.Key, "begun", l.Begun, "error", err)
			continue
		}
		u.log.Info("stale upload aborted", "key", l.Key, "begun", l.Begun)
	}
	u.cleaned = time.Now()
	return nil
}

// mine reports whether a key looks like one of ours: others may keep theirs in
// the same bucket.
func (u *Uploader) mine(key string) bool {
	rest, ok := strings.CutPrefix(key, u.config.Prefix)
	recording, name, isFile := strings.Cut(rest, "/")
	return ok && isFile && recordingPattern.MatchString(recording) && name != "" && !strings.Contains(name, "/")
}

// knownUploads returns the uploads that are going on.
func (u *Uploader) knownUploads() (map[string]bool, error) {
	recordings, err := u.states.list(stateExtension)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, id := range recordings {
		s, err := u.states.load(id)
		if errors.Is(err, errUnreadable) {
			continue // its uploads are as stale as they look
		}
		if err != nil {
			return nil, err
		}
		for _, o := range slices.Concat(s.Objects, s.Leftovers) {
			if o.Upload != "" {
				known[o.Upload] = true
			}
		}
	}
	return known, nil
}
