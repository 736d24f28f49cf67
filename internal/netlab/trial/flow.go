package trial

import (
	"context"
	"errors"
	"time"
)

// flowing is the longest time between two looks that both find more of a
// stream: a frame is due every 33 ms, a look costs a few.
const flowing = 400 * time.Millisecond

// minWatch is how long an event is watched at least: what is under way when a
// path dies still arrives, and ICE notices late.
const minWatch = 8 * time.Second

// flowWatch measures for how long streams do not flow.
type flowWatch struct {
	counts [4]uint64
	grown  [4]time.Time
	begun  time.Time
	gap    time.Duration // the longest of any stream
	event  bool
}

// reset starts a new measurement, of what an event does.
func (w *flowWatch) reset() {
	now := time.Now()
	w.gap, w.begun, w.event = 0, now, true
	for i := range w.grown {
		w.grown[i] = now
	}
}

// follow returns nil when all streams have flowed for a while, and an error
// when they have not by the limit.
func (w *flowWatch) follow(ctx context.Context, p pair, while, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	least := time.Now()
	if w.event {
		least = least.Add(minWatch)
	}
	var since time.Time // when all began to flow
	return poll(ctx, lookPeriod, func() (bool, error) {
		patient, doctor, err := p.status(ctx)
		if err != nil && time.Now().After(deadline) {
			return false, err
		}
		now := time.Now()
		if err == nil {
			w.look(now, [4]uint64{patient.Video.Count, patient.Audio.Count, doctor.Video.Count, doctor.Audio.Count})
		}
		all := true
		for _, at := range w.grown {
			all = all && now.Sub(at) < flowing
		}
		if !all {
			since = time.Time{}
			if now.After(deadline) {
				return false, errors.New("streams do not flow")
			}
			return false, nil
		}
		if since.IsZero() {
			since = now
		}
		return now.Sub(since) >= while && now.After(least), nil
	})
}

func (w *flowWatch) look(now time.Time, counts [4]uint64) {
	for i, n := range counts {
		if n != w.counts[i] {
			w.counts[i], w.grown[i] = n, now
			continue
		}
		w.gap = max(w.gap, now.Sub(w.grown[i]))
	}
}
