package recorder

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"time"
)

const retentionInterval = time.Hour

// retain finishes what was being erased, and erases what has been kept long
// enough, until ctx ends.
func (r *Recorder) retain(ctx context.Context) {
	tick := time.NewTicker(retentionInterval)
	defer tick.Stop()
	for {
		r.retainOnce(ctx, time.Now())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (r *Recorder) retainOnce(ctx context.Context, now time.Time) {
	ids, err := recordingIDs(r.root)
	if err != nil {
		r.log.Error("recordings can't be listed for retention", "error", err)
		return
	}
	for _, id := range ids {
		if ctx.Err() != nil {
			return
		}
		by, why := r.dueToErase(id, now)
		if by == "" {
			continue
		}
		stone, err := Erase(r.config.Dir, id, by, why)
		switch {
		case errors.Is(err, ErrHeld), errors.Is(err, ErrUnfinished), errors.Is(err, ErrErased):
		case err != nil:
			r.log.Error("recording not erased", "call", id, "error", err)
		default:
			r.log.Info("recording erased", "call", id, "by", stone.By, "reason", stone.Reason)
			r.config.Changed(id)
			r.config.Erased(stone)
		}
	}
}

// dueToErase says who erases a recording now, and why; by is empty if nobody
// does.
func (r *Recorder) dueToErase(id string, now time.Time) (by, why string) {
	root, err := r.root.OpenRoot(path.Join(recordingsDir, id))
	if err != nil {
		return "", ""
	}
	defer root.Close()
	if stone, err := loadTombstone(root); !errors.Is(err, fs.ErrNotExist) {
		if err != nil || stone.Done != nil {
			return "", ""
		}
		return stone.By, stone.Reason
	}
	if r.config.Keep <= 0 || held(root) {
		return "", ""
	}
	ended, ok := endOf(root)
	if !ok || now.Sub(ended) < r.config.Keep {
		return "", ""
	}
	return RetentionBy, "kept for " + r.config.Keep.String()
}

// endOf returns when the call of a finished recording ended.
func endOf(root *os.Root) (time.Time, bool) {
	m, err := loadManifest(root, ".")
	if err != nil || m.Ended == nil || m.State == Live {
		return time.Time{}, false
	}
	return *m.Ended, true
}
