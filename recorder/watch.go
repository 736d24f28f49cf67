package recorder

import (
	"context"
	"time"

	"consilium/internal/event"
)

const (
	watchInterval = time.Second
	calmTicks     = 3 // without a dropped packet: the disk keeps up again
)

// Space returns what is known of the disk of the recordings. It never waits.
// It is safe for concurrent use.
func (r *Recorder) Space() Space { return r.volume.get() }

// watch raises the alarms of what hangs on the disk and can't speak for
// itself, until ctx ends. It never touches the disk.
func (r *Recorder) watch(ctx context.Context) {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	var told string
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		told = r.tellSpace(told)
		for _, c := range r.calls() {
			if c.recording != nil {
				c.recording.watch()
			}
		}
	}
}

// tellSpace reports a disk whose state is another than told, and returns its
// state.
func (r *Recorder) tellSpace(told string) string {
	s := r.volume.get()
	words := s.words()
	if words == told {
		return told
	}
	e := event.Event{Type: event.RecordingSpace, Time: time.Now(), Data: map[string]any{
		"level": s.Level.String(), "free_bytes": s.Free, "total_bytes": s.Total,
	}}
	if words != "" {
		e.Data["reason"] = words
	}
	switch {
	case s.Err != nil || s.Stalled:
		e.Code = event.RecorderFailed
		e.Data["level"] = "failed"
	case s.Level >= LevelHard:
		e.Code = event.DiskFull
	}
	switch {
	case e.Code != "":
		r.log.Error("disk of the recordings", "state", words, "free", s.Free, "total", s.Total)
	case words != "":
		r.log.Warn("disk of the recordings", "state", words, "free", s.Free, "total", s.Total)
	default:
		r.log.Info("disk of the recordings is all right again", "free", s.Free, "total", s.Total)
	}
	r.events.Emit(e)
	return words
}

// watch looks whether the tracks keep up: one whose goroutine hangs on the
// disk can't say that its queue is full.
func (r *Recording) watch() {
	r.mu.Lock()
	tracks := make([]*track, 0, len(r.tracks))
	for k := range r.tracks {
		tracks = append(tracks, k)
	}
	r.mu.Unlock()
	for _, k := range tracks {
		k.backlog.watch(k)
	}
}

// backlog is what the watcher knows of a track's queue.
type backlog struct {
	dropped int64 // packets, when it was last looked at
	behind  bool  // an alarm was raised
	calm    int   // ticks since without a dropped packet
}

func (b *backlog) watch(k *track) {
	n := k.overflow.Load()
	grown := n > b.dropped
	b.dropped = n
	switch {
	case grown:
		b.calm = 0
		if !b.behind {
			b.behind = true
			k.recording.fail(k.Track, event.RecorderFailed, "the disk does not keep up: packets are lost")
		}
	case b.behind:
		if b.calm++; b.calm >= calmTicks {
			b.behind = false
			if !k.alarmed.Load() { // by a failure, which ends later
				k.announce(true)
			}
		}
	}
}
