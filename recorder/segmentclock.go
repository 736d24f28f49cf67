package recorder

import (
	"time"

	"consilium/internal/media"
)

// arrive takes the arrival of f, which is at pos in the file.
func (w *segmentWriter) arrive(f placed, pos time.Duration) {
	if len(w.arrived.points) == 0 {
		// What earlier files of the track showed counts too.
		w.arrived.add(point{y: w.arrivalMS() / 1e3})
	}
	w.arrived.add(point{x: pos.Seconds(), y: (w.session(f.arrival) - pos).Seconds()})
}

// report takes a sender report about the instant pos on the track's timeline.
func (w *segmentWriter) report(r media.SenderReport, pos time.Duration) {
	if n := w.track.timeline.guesses; n != w.guesses {
		w.guesses, w.clock.moved = n, true
	}
	w.clock.add(r, pos-w.begin, w.session(r.Arrival))
}

// session is an instant in session time.
func (w *segmentWriter) session(at time.Time) time.Duration {
	return at.Sub(w.track.recording.call.Started)
}

// arrivalMS is the session time of file time 0, by what the timeline knows of
// delays.
func (w *segmentWriter) arrivalMS() float64 {
	t := &w.track.timeline
	return w.session(t.start.Add(t.delay+w.begin)).Seconds() * 1e3
}

// describeClock returns what is known of the segment's clocks.
func (w *segmentWriter) describeClock() *Clock {
	c := &Clock{ArrivalMS: roundTo(w.arrivalMS(), 1e3)}
	if arrived, ok := w.arrived.line(); ok {
		c.ArrivalMS, c.ArrivalPPM = roundTo(arrived.at0*1e3, 1e3), roundTo(arrived.slope*1e6, 1e3)
	}
	w.clock.describe(c)
	return c
}
